#include <pybind11/stl.h>

#include <string>
#include <utility>

#include "dcp/mapped_storage.h"
#include "python_status.h"
#include "registrars.h"
#include "storage_environment.h"

namespace py = pybind11;

namespace dcp {
namespace {

void BindModelMapping(py::module_& m) {
  py::class_<ModelMapping>(m, "ModelMapping", "dcp::ModelMapping")
      .def_property_readonly(
          "dequantizes",
          [](const ModelMapping& mapping) {
            return mapping.mapping.dequantizes();
          },
          "Whether quantized weights of Hugging Face's are floats beyond it.");
  m.def(
      "make_model_mapping",
      [](const std::string& model, const std::string& rules,
         const std::string& flavor, const std::string& config, bool to_native,
         const std::string& dialect) {
        return ValueOrThrow(MakeModelMapping(
            {.model = model,
             .rules_json = rules,
             .flavor = flavor,
             .config_json = config,
             .direction = to_native ? MappingDirection::kToNative
                                    : MappingDirection::kToHuggingFace,
             .dialect = dialect}));
      },
      py::kw_only(), py::arg("model") = "", py::arg("rules") = "",
      py::arg("flavor") = "", py::arg("config") = "",
      py::arg("to_native") = false, py::arg("dialect") = "",
      "Of dcp/mapping.h; `rules` and `config` are JSON texts.");
}

void BindMappedStorages(py::module_& m) {
  m.def(
      "make_mapped_hugging_face_writer",
      [](HuggingFaceWriterOptions options, const ModelMapping& mapping,
         const MaybeFileSystem& file_system) {
        return MakeMappedHuggingFaceWriter(std::move(options), mapping,
                                           Environment(file_system));
      },
      py::arg("options"), py::arg("mapping"),
      py::arg("file_system") = py::none(),
      "Writes safetensors files of what a mapping makes of a trainer's "
      "tensors.");
  m.def(
      "make_mapped_hugging_face_reader",
      [](const FileSystemReaderOptions& options, const ModelMapping& mapping,
         const MaybeFileSystem& file_system) {
        return MakeMappedHuggingFaceReader(
            {.path = options.path, .io = options.io}, mapping,
            Environment(file_system));
      },
      py::arg("options"), py::arg("mapping"),
      py::arg("file_system") = py::none(),
      "Reads a trainer's tensors from safetensors files by a mapping.");
}

}  // namespace

void BindMapping(py::module_& m) {
  BindModelMapping(m);
  BindMappedStorages(m);
}

}  // namespace dcp
