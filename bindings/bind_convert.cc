#include <pybind11/stl.h>

#include <functional>
#include <optional>
#include <string>
#include <utility>

#include "dcp/convert.h"
#include "python_status.h"
#include "registrars.h"

namespace py = pybind11;

namespace dcp {
namespace {

CheckpointFormat FormatFrom(const std::string& name) {
  if (name == "dcp") return CheckpointFormat::kDcp;
  if (name == "torch") return CheckpointFormat::kTorch;
  throw py::value_error("a format is \"dcp\" or \"torch\", not \"" + name +
                        "\"");
}

/// Has Python told of progress; it may raise.
std::function<Status(const ConvertProgress&)> Reporter(
    const py::object& progress) {
  if (progress.is_none()) return {};
  // The caller's argument keeps the object.
  return [callable = py::handle(progress)](const ConvertProgress& now) {
    return CallPythonVoid([&] { callable(now.nbytes_done, now.nbytes_total); });
  };
}

ConvertResult ConvertPathsOf(const ConvertPaths& paths, Transport& transport,
                             std::optional<int> dtype,
                             const py::object& progress) {
  ConvertOptions options{.progress = Reporter(progress)};
  if (dtype) options.dtype = DTypeFromCode(static_cast<uint8_t>(*dtype));
  const py::gil_scoped_release nogil;
  return ValueOrThrow(Convert(paths, transport, options));
}

}  // namespace

void BindConvert(py::module_& m) {
  py::class_<ConvertResult>(m, "ConvertResult", "dcp::ConvertResult")
      .def_readonly("tensors", &ConvertResult::tensors)
      .def_readonly("objects", &ConvertResult::objects)
      .def_readonly("nbytes", &ConvertResult::nbytes);
  m.def(
      "convert",
      [](const std::string& source, const std::string& destination,
         const std::optional<std::string>& format, std::optional<int> dtype,
         const py::object& progress, Transport& transport) {
        ConvertPaths paths{.source = source, .destination = destination};
        if (format) paths.format = FormatFrom(*format);
        return ConvertPathsOf(paths, transport, dtype, progress);
      },
      py::arg("source"), py::arg("destination"), py::arg("format"),
      py::arg("dtype"), py::arg("progress"), py::arg("transport"),
      "Convert a checkpoint (dcp/convert.h). `dtype` is a code; `progress` is "
      "called with bytes done and bytes in all.");
}

}  // namespace dcp
