#include <pybind11/stl.h>

#include <memory>
#include <string>

#include "dcp/metadata.h"
#include "dcp/metadata_codec.h"
#include "entries.h"
#include "python_status.h"
#include "registrars.h"

namespace py = pybind11;

namespace dcp {
namespace {

/// torch's names of a stored entry: ("tensor", size, dtype code, requires_grad,
/// [(offsets, sizes), ...]) or ("bytes",); None if there is none.
py::object Describe(const Metadata& metadata, const std::string& fqn) {
  const StorageMetadata* stored = metadata.Find(fqn);
  if (stored == nullptr) return py::none();
  const auto* tensor = std::get_if<TensorStorageMetadata>(stored);
  if (tensor == nullptr) return py::make_tuple("bytes");
  py::list chunks;
  for (const Box& chunk : tensor->chunks) {
    chunks.append(py::make_tuple(ToTuple(chunk.offsets), ToTuple(chunk.sizes)));
  }
  return py::make_tuple("tensor", ToTuple(tensor->size),
                        static_cast<int>(tensor->properties.dtype),
                        tensor->properties.requires_grad, chunks);
}

py::list Keys(const Metadata& metadata) {
  py::list keys;
  for (const auto& [fqn, stored] : metadata.entries()) keys.append(fqn);
  return keys;
}

py::object Path(const Metadata& metadata, const std::string& fqn) {
  if (!metadata.planner_data) return py::none();
  const auto found = metadata.planner_data->find(fqn);
  if (found == metadata.planner_data->end()) return py::none();
  py::tuple path(found->second.size());
  for (size_t i = 0; i < found->second.size(); ++i) {
    path[i] = std::visit([](const auto& part) { return py::cast(part); },
                         found->second[i]);
  }
  return path;
}

}  // namespace

void BindMetadata(py::module_& m) {
  py::class_<Metadata, std::shared_ptr<Metadata>>(
      m, "Metadata", "What a checkpoint holds (dcp/metadata.h).")
      .def("keys", &Keys, "Flat keys, in their order.")
      .def("describe", &Describe, py::arg("key"),
           "(\"tensor\", size, dtype, requires_grad, chunks), (\"bytes\",) or "
           "None.")
      .def("path", &Path, py::arg("key"),
           "The key's path in the nested state dict, None if unknown.");
  m.def(
      "parse_metadata",
      [](const py::bytes& pickle) {
        const auto bytes = pickle.cast<std::string>();
        const py::gil_scoped_release nogil;
        return std::make_shared<Metadata>(ValueOrThrow(ParseMetadata(bytes)));
      },
      py::arg("pickle"),
      "Reads the bytes of a `.metadata` file; executes nothing.");
  m.def(
      "serialize_metadata",
      [](const Metadata& metadata) {
        return py::bytes(ValueOrThrow(SerializeMetadata(metadata)));
      },
      py::arg("metadata"), "The bytes of a `.metadata` file.");
}

}  // namespace dcp
