#include <pybind11/functional.h>
#include <pybind11/stl.h>

#include <functional>
#include <map>
#include <optional>
#include <string>
#include <utility>
#include <vector>

#include "dcp/device_runtime.h"
#include "dcp/dtype.h"
#include "dcp/hugging_face_storage.h"
#include "dcp/io_engine.h"
#include "dcp/kept_buffers.h"
#include "engine_names.h"
#include "python_status.h"
#include "raw_device.h"
#include "registrars.h"

namespace py = pybind11;

namespace dcp {
namespace {

std::map<std::string, int> DTypeCodes() {
  std::map<std::string, int> codes;
  for (const DTypeInfo& info : AllDTypes()) {
    codes.emplace(info.name, static_cast<int>(info.dtype));
  }
  return codes;
}

benchmarks::RawDeviceOptions RawOptions(const std::string& directory,
                                        int64_t nbytes, int64_t block_nbytes,
                                        int queue_depth, bool direct) {
  return {.directory = directory,
          .nbytes = nbytes,
          .block_nbytes = block_nbytes,
          .direct_io = direct ? DirectIo::kTry : DirectIo::kOff,
          .engine = {.queue_depth = queue_depth},
          .page_cache = benchmarks::PageCache::kAsIs};
}

using SecondsAndBytes = std::pair<double, int64_t>;

SecondsAndBytes RawWrite(const std::string& directory, int64_t nbytes,
                         int files, int64_t block_nbytes, int queue_depth,
                         bool direct,
                         std::optional<std::function<void()>> before_start) {
  auto options =
      RawOptions(directory, nbytes, block_nbytes, queue_depth, direct);
  options.files = files;
  if (before_start) options.before_start = *std::move(before_start);
  const auto result =
      ValueOrThrow(benchmarks::WriteRaw(*MakePosixFileSystem(), options));
  return {result.seconds, result.nbytes};
}

SecondsAndBytes RawRead(const std::string& directory,
                        std::vector<std::string> names, int64_t nbytes,
                        int64_t block_nbytes, int queue_depth, bool direct) {
  auto options =
      RawOptions(directory, nbytes, block_nbytes, queue_depth, direct);
  options.names = std::move(names);
  const auto result =
      ValueOrThrow(benchmarks::ReadRaw(*MakePosixFileSystem(), options));
  return {result.seconds, result.nbytes};
}

void BindRawDevice(py::module_& m) {
  m.def("raw_write", &RawWrite, py::arg("directory"), py::arg("nbytes"),
        py::arg("files"), py::arg("block_nbytes"), py::arg("queue_depth"),
        py::arg("direct"), py::arg("before_start") = py::none(),
        py::call_guard<py::gil_scoped_release>(),
        "Write files through plain I/O, synced; (seconds, bytes moved).");
  m.def("raw_read", &RawRead, py::arg("directory"), py::arg("names"),
        py::arg("nbytes"), py::arg("block_nbytes"), py::arg("queue_depth"),
        py::arg("direct"), py::call_guard<py::gil_scoped_release>(),
        "Read files of a directory through plain I/O, equally much of each; "
        "(seconds, bytes moved).");
}

}  // namespace

void BindInfo(py::module_& m) {
  m.def("dtype_codes", &DTypeCodes,
        "libdcp's code of each dtype, by torch's name.");
  m.def(
      "io_engine",
      [](const std::string& wanted) {
        const IoEngineChoice choice =
            ValueOrThrow(SelectIoEngine(EngineFrom(wanted)));
        return py::make_tuple(EngineName(choice.kind), choice.reason);
      },
      py::arg("wanted") = "auto",
      "(name, reason) of the I/O engine that serves on this machine.");
  m.def(
      "direct_io",
      [](const std::string& path) {
        const DirectIoChoice choice = ValueOrThrow([&] {
          const py::gil_scoped_release nogil;
          return ProbeDirectIo(path);
        }());
        return py::make_tuple(choice.available, choice.reason);
      },
      py::arg("path"),
      "(whether, why) direct I/O serves a file, or files in a directory.");
  m.def(
      "safetensors_overwrite",
      [](const std::string& path) {
        return ValueOrThrow([&] {
          const py::gil_scoped_release nogil;
          return DescribeSafetensorsOverwrite(path);
        }());
      },
      py::arg("path"),
      "How a save would replace safetensors files in a directory, and why.");
  m.def(
      "cuda", [] { return MakeCudaRuntime()->Describe(); },
      "What was found of CUDA.");
  m.def("pack_kernel", &PackKernelState,
        "What this build has of the kernel that packs device tensors.");
  m.def("kept_buffer_nbytes", &KeptBufferNbytes,
        "Bytes of buffers kept for the next save or load.");
  BindRawDevice(m);
}

}  // namespace dcp
