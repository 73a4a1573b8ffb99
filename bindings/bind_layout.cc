#include <pybind11/stl.h>

#include <cstdint>
#include <optional>
#include <string>
#include <utility>
#include <vector>

#include "dcp/checkpoint_layout.h"
#include "python_status.h"
#include "registrars.h"

namespace py = pybind11;

namespace dcp {
namespace {

using Numbers = std::vector<int64_t>;

Numbers ToNumbers(const Dims& dims) { return {dims.begin(), dims.end()}; }

/// The offsets and sizes of a chunk; nullopt for an object.
std::optional<std::pair<Numbers, Numbers>> ChunkOf(const StoredPart& part) {
  if (!part.chunk) return std::nullopt;
  return std::pair(ToNumbers(part.chunk->offsets),
                   ToNumbers(part.chunk->sizes));
}

void BindParts(py::module_& m) {
  py::class_<StoredPart>(m, "StoredPart", "dcp::StoredPart")
      .def_readonly("fqn", &StoredPart::fqn)
      .def_property_readonly("chunk", &ChunkOf, "(offsets, sizes) or None.")
      .def_readonly("file", &StoredPart::file)
      .def_readonly("byte_offset", &StoredPart::byte_offset)
      .def_readonly("nbytes", &StoredPart::nbytes);
  py::class_<FileLayout>(m, "FileLayout", "dcp::FileLayout")
      .def_readonly("name", &FileLayout::name)
      .def_readonly("rank", &FileLayout::rank)
      .def_readonly("nbytes", &FileLayout::nbytes)
      .def_readonly("items", &FileLayout::items)
      .def_readonly("keys", &FileLayout::keys);
  py::class_<RankLayout>(m, "RankLayout", "dcp::RankLayout")
      .def_readonly("rank", &RankLayout::rank)
      .def_readonly("files", &RankLayout::files)
      .def_readonly("nbytes", &RankLayout::nbytes)
      .def_readonly("items", &RankLayout::items);
}

}  // namespace

void BindLayout(py::module_& m) {
  BindParts(m);
  py::class_<CheckpointLayout>(m, "CheckpointLayout", "dcp::CheckpointLayout")
      .def_property_readonly(
          "format",
          [](const CheckpointLayout& self) {
            return std::string(CheckpointFormatName(self.format));
          })
      .def_readonly("files", &CheckpointLayout::files)
      .def_readonly("ranks", &CheckpointLayout::ranks)
      .def_readonly("parts", &CheckpointLayout::parts)
      .def_readonly("file_imbalance", &CheckpointLayout::file_imbalance)
      .def_readonly("rank_imbalance", &CheckpointLayout::rank_imbalance);
  m.def(
      "describe_layout",
      [](const std::string& path) {
        const py::gil_scoped_release nogil;
        return ValueOrThrow(DescribeLayout(path));
      },
      py::arg("path"), "What lies where (dcp/checkpoint_layout.h).");
}

}  // namespace dcp
