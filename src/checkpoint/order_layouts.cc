// On the wire (base/wire.h): count of meshes, each as plan/mesh_wire.h has it;
// count of layouts, then each: number of the mesh, dims of the coordinate,
// count of placements, each as there.

#include "checkpoint/order_layouts.h"

#include <variant>

#include "plan/mesh_wire.h"

namespace dcp {

OrderLayouts::OrderLayouts(std::span<const SaveEntry> entries) {
  for (const SaveEntry& entry : entries) {
    const auto* shard = std::get_if<TensorShard>(&entry.value);
    if (shard == nullptr || shard->layout == nullptr) continue;
    const MeshLayout* const layout = shard->layout.get();
    if (layout->mesh == nullptr) continue;
    if (numbers_.try_emplace(layout, layouts_.size() + 1).second) {
      layouts_.push_back(layout);
    }
  }
}

void OrderLayouts::Put(WireWriter& out) const {
  std::vector<const DeviceMesh*> meshes;
  std::unordered_map<const DeviceMesh*, uint64_t> numbers;
  for (const MeshLayout* layout : layouts_) {
    const DeviceMesh* const mesh = layout->mesh.get();
    if (numbers.try_emplace(mesh, meshes.size()).second) meshes.push_back(mesh);
  }
  out.PutVarint(meshes.size());
  for (const DeviceMesh* mesh : meshes) PutMesh(*mesh, &out);
  out.PutVarint(layouts_.size());
  for (const MeshLayout* layout : layouts_) {
    out.PutVarint(numbers.at(layout->mesh.get()));
    out.PutDims(layout->coordinate);
    out.PutVarint(layout->placements.size());
    for (const Placement& placement : layout->placements) {
      PutPlacement(placement, &out);
    }
  }
}

MeshLayouts GetLayouts(WireReader& in) {
  uint64_t ranks = 0;
  std::vector<std::shared_ptr<const DeviceMesh>> meshes;
  for (size_t left = in.Count(1); in.ok() && left > 0; --left) {
    meshes.push_back(std::make_shared<DeviceMesh>(GetMesh(&in, &ranks)));
  }
  MeshLayouts layouts;
  for (size_t left = in.Count(3); in.ok() && left > 0; --left) {
    auto layout = std::make_shared<MeshLayout>();
    const uint64_t mesh = in.Varint();
    if (mesh >= meshes.size()) {
      in.Fail();
      break;
    }
    layout->mesh = meshes[mesh];
    layout->coordinate = in.GetDims();
    for (size_t rest = in.Count(1); in.ok() && rest > 0; --rest) {
      layout->placements.push_back(GetPlacement(&in));
    }
    layouts.push_back(std::move(layout));
  }
  return layouts;
}

}  // namespace dcp
