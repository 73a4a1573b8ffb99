#include <pybind11/stl.h>

#include <memory>
#include <tuple>
#include <utility>
#include <vector>

#include "dcp/device_mesh.h"
#include "entries.h"
#include "python_status.h"
#include "registrars.h"

namespace py = pybind11;

namespace dcp {
namespace {

/// (Placement::Kind, dim, split factor)
using PlacementTuple = std::tuple<int, int, int64_t>;

std::shared_ptr<MeshLayout> MakeLayout(
    const std::shared_ptr<DeviceMesh>& mesh,
    const std::vector<PlacementTuple>& placements,
    const py::tuple& coordinate) {
  auto layout = std::make_shared<MeshLayout>();
  layout->mesh = mesh;
  for (const auto& [kind, dim, split_factor] : placements) {
    layout->placements.push_back({.kind = static_cast<Placement::Kind>(kind),
                                  .dim = dim,
                                  .split_factor = split_factor});
  }
  layout->coordinate = DimsFrom(coordinate);
  return layout;
}

}  // namespace

void BindDeviceMesh(py::module_& m) {
  py::class_<DeviceMesh, std::shared_ptr<DeviceMesh>>(
      m, "DeviceMesh", "Ranks in a grid (dcp/device_mesh.h).")
      .def(py::init([](const py::tuple& sizes, std::vector<uint32_t> ranks) {
             return std::make_shared<DeviceMesh>(DeviceMesh{
                 .sizes = DimsFrom(sizes), .ranks = std::move(ranks)});
           }),
           py::arg("sizes"), py::arg("ranks"));
  py::class_<MeshLayout, std::shared_ptr<MeshLayout>>(
      m, "MeshLayout",
      "How tensors lie on a mesh, and where on it this rank is. A placement is "
      "(kind, dim, split factor), of kind 0 replicated, 1 sharded or 2 sharded "
      "in strides.")
      .def(py::init(&MakeLayout), py::arg("mesh"), py::arg("placements"),
           py::arg("coordinate"))
      .def(
          "chunk_sizes",
          [](const MeshLayout& self, const py::tuple& global_size) {
            return ToTuple(
                ValueOrThrow(ChunkOf(self, DimsFrom(global_size))).sizes);
          },
          py::arg("global_size"),
          "The shape of what this rank has of a tensor. Raises ValueError for "
          "an impossible layout.");
}

}  // namespace dcp
