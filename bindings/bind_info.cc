#include <pybind11/stl.h>

#include <map>
#include <string>
#include <utility>

#include "dcp/device_runtime.h"
#include "dcp/dtype.h"
#include "dcp/io_engine.h"
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
                                        int64_t nbytes, int files,
                                        int64_t block_nbytes, int queue_depth,
                                        bool direct) {
  return {.directory = directory,
          .nbytes = nbytes,
          .files = files,
          .block_nbytes = block_nbytes,
          .direct_io = direct ? DirectIo::kTry : DirectIo::kOff,
          .engine = {.queue_depth = queue_depth},
          .page_cache = benchmarks::PageCache::kAsIs};
}

/// (seconds, bytes moved)
template <auto Transfer>
std::pair<double, int64_t> MeasureRaw(const std::string& directory,
                                      int64_t nbytes, int files,
                                      int64_t block_nbytes, int queue_depth,
                                      bool direct) {
  const auto fs = MakePosixFileSystem();
  const benchmarks::RawDeviceResult result = ValueOrThrow(Transfer(
      *fs,
      RawOptions(directory, nbytes, files, block_nbytes, queue_depth, direct)));
  return {result.seconds, result.nbytes};
}

void BindRawDevice(py::module_& m) {
  m.def("raw_write", &MeasureRaw<&benchmarks::WriteRaw>, py::arg("directory"),
        py::arg("nbytes"), py::arg("files"), py::arg("block_nbytes"),
        py::arg("queue_depth"), py::arg("direct"),
        py::call_guard<py::gil_scoped_release>(),
        "Write files through plain I/O, synced; (seconds, bytes moved).");
  m.def("raw_read", &MeasureRaw<&benchmarks::ReadRaw>, py::arg("directory"),
        py::arg("nbytes"), py::arg("files"), py::arg("block_nbytes"),
        py::arg("queue_depth"), py::arg("direct"),
        py::call_guard<py::gil_scoped_release>(),
        "Read what raw_write wrote; (seconds, bytes moved).");
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
      "cuda", [] { return MakeCudaRuntime()->Describe(); },
      "What was found of CUDA.");
  BindRawDevice(m);
}

}  // namespace dcp
