#include <pybind11/stl.h>

#include <functional>
#include <optional>
#include <string>
#include <utility>

#include "dcp/convert.h"
#include "progress.h"
#include "python_status.h"
#include "registrars.h"

namespace py = pybind11;

namespace dcp {
namespace {

CheckpointFormat FormatFrom(const std::string& name) {
  if (name == "dcp") return CheckpointFormat::kDcp;
  if (name == "torch") return CheckpointFormat::kTorch;
  if (name == "safetensors") return CheckpointFormat::kSafetensors;
  throw py::value_error(
      "a format is \"dcp\", \"torch\" or \"safetensors\", not \"" + name +
      "\"");
}

/// Asks Python what keys are called; it may raise.
auto Renamer(const py::object& rename) -> decltype(ConvertOptions::rename) {
  if (rename.is_none()) return {};
  // The caller's argument keeps the object.
  return [callable = py::handle(rename)](const std::string& key) {
    return CallPython(
        [&] { return callable(key).cast<std::optional<std::string>>(); });
  };
}

ConvertResult ConvertPathsOf(const ConvertPaths& paths,
                             const ConvertOptions& options,
                             Transport& transport) {
  const py::gil_scoped_release nogil;
  return ValueOrThrow(Convert(paths, transport, options));
}

void BindConvertPaths(py::module_& m) {
  using P = ConvertPaths;
  py::class_<P>(m, "ConvertPaths", "dcp::ConvertPaths")
      .def(py::init<>())
      .def_readwrite("source", &P::source)
      .def_readwrite("destination", &P::destination)
      .def(
          "set_format",
          [](P& paths, const std::string& name) {
            paths.format = FormatFrom(name);
          },
          py::arg("name"), "\"dcp\", \"torch\" or \"safetensors\".")
      .def_readwrite("file_numbers", &P::file_numbers)
      .def_readwrite("max_shard_nbytes", &P::max_shard_nbytes);
}

}  // namespace

void BindConvert(py::module_& m) {
  BindConvertPaths(m);
  py::class_<ConvertResult>(m, "ConvertResult", "dcp::ConvertResult")
      .def_readonly("tensors", &ConvertResult::tensors)
      .def_readonly("objects", &ConvertResult::objects)
      .def_readonly("nbytes", &ConvertResult::nbytes);
  m.def(
      "convert",
      [](const ConvertPaths& paths, std::optional<int> dtype,
         const py::object& rename, const py::object& progress,
         Transport& transport, std::optional<ModelMapping> mapping) {
        ConvertOptions options{.rename = Renamer(rename),
                               .mapping = std::move(mapping),
                               .progress = Reporter<ConvertProgress>(progress)};
        if (dtype) options.dtype = DTypeFromCode(static_cast<uint8_t>(*dtype));
        return ConvertPathsOf(paths, options, transport);
      },
      py::arg("paths"), py::arg("dtype"), py::arg("rename"),
      py::arg("progress"), py::arg("transport"),
      py::arg("mapping") = py::none(),
      "Convert a checkpoint (dcp/convert.h). `dtype` is a code; `rename` makes "
      "a name, or None, of a key; `progress` is called with bytes done and "
      "bytes in all; `mapping` is what make_model_mapping returned.");
}

}  // namespace dcp
