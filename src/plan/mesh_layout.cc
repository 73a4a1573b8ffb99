#include "plan/mesh_layout.h"

#include <optional>

#include "plan/sharded_dim.h"

namespace dcp {
namespace {

constexpr int64_t kMaxMeshRanks = int64_t{1} << 31;

Status CheckMeshSizes(const Dims& mesh_sizes) {
  const std::optional<int64_t> ranks = CheckedNumel(mesh_sizes);
  if (ranks && *ranks >= 1 && *ranks <= kMaxMeshRanks) return absl::OkStatus();
  return InvalidArgument("a device mesh cannot have the sizes " +
                         ToString(mesh_sizes));
}

std::string ToString(const Placement& placement) {
  if (placement.kind == Placement::Kind::kReplicate) return "R";
  const std::string dim = std::to_string(placement.dim);
  if (placement.kind == Placement::Kind::kShard) return "S(" + dim + ")";
  return "_S(" + dim + ", " + std::to_string(placement.split_factor) + ")";
}

}  // namespace

std::string ToString(const TensorLayout& layout, const Dims& mesh_sizes) {
  std::string text =
      ToString(layout.global_size) + " over " + ToString(mesh_sizes) + " as (";
  for (const Placement& placement : layout.placements) {
    if (&placement != layout.placements.data()) text += ", ";
    text += ToString(placement);
  }
  return text + ")";
}

Status CheckMesh(const DeviceMesh& mesh) {
  const std::optional<int64_t> ranks = CheckedNumel(mesh.sizes);
  if (ranks && static_cast<size_t>(*ranks) == mesh.ranks.size()) {
    return absl::OkStatus();
  }
  return InvalidArgument("a device mesh of the sizes " + ToString(mesh.sizes) +
                         " has " + std::to_string(mesh.ranks.size()) +
                         " ranks");
}

Status CheckLayout(const TensorLayout& layout, const Dims& mesh_sizes) {
  DCP_RETURN_IF_ERROR(CheckMeshSizes(mesh_sizes));
  const auto error = [&](const std::string& what) {
    return InvalidArgument("the layout " + ToString(layout, mesh_sizes) +
                           " has " + what);
  };
  if (!CheckedNumel(layout.global_size)) return error("an impossible size");
  if (layout.placements.size() != static_cast<size_t>(mesh_sizes.size())) {
    return error(std::to_string(layout.placements.size()) +
                 " placements for a mesh of " +
                 std::to_string(mesh_sizes.size()) + " dimensions");
  }
  for (const Placement& placement : layout.placements) {
    if (placement.kind == Placement::Kind::kReplicate) continue;
    if (placement.dim < 0 || placement.dim >= layout.global_size.size()) {
      return error("shards of dimension " + std::to_string(placement.dim) +
                   ", which the tensor does not have");
    }
    if (placement.split_factor < 1) return error("a split factor below 1");
  }
  return absl::OkStatus();
}

StatusOr<Box> ChunkAt(const TensorLayout& layout, const Dims& mesh_sizes,
                      const Dims& coordinate) {
  DCP_RETURN_IF_ERROR(CheckLayout(layout, mesh_sizes));
  bool is_inside = coordinate.size() == mesh_sizes.size();
  for (int d = 0; is_inside && d < coordinate.size(); ++d) {
    is_inside = coordinate[d] >= 0 && coordinate[d] < mesh_sizes[d];
  }
  if (!is_inside) {
    return InvalidArgument("the coordinate " + ToString(coordinate) +
                           " is outside of a mesh of " + ToString(mesh_sizes));
  }
  return KnownChunkAt(layout, mesh_sizes, coordinate);
}

StatusOr<Box> ChunkOf(const MeshLayout& layout, const Dims& global_size) {
  if (layout.mesh == nullptr) {
    return InvalidArgument("a layout is over no device mesh");
  }
  DCP_RETURN_IF_ERROR(CheckMesh(*layout.mesh));
  return ChunkAt({.global_size = global_size, .placements = layout.placements},
                 layout.mesh->sizes, layout.coordinate);
}

Box KnownChunkAt(const TensorLayout& layout, const Dims& mesh_sizes,
                 const Dims& coordinate) {
  Box chunk = WholeBox(layout.global_size);
  for (int d = 0; d < chunk.ndim(); ++d) {
    const ShardedDim dim(layout, mesh_sizes, d);
    if (!dim.is_sharded()) continue;
    const Rows rows = dim.RowsOf(coordinate);
    chunk.offsets[d] = rows.count == 0 ? dim.rows() : rows.first;
    chunk.sizes[d] = rows.count;
  }
  return chunk;
}

bool HasWholeRuns(const TensorLayout& layout, const Dims& mesh_sizes) {
  for (int d = 0; d < layout.global_size.size(); ++d) {
    if (!ShardedDim(layout, mesh_sizes, d).HasWholeRuns()) return false;
  }
  return true;
}

Dims FirstEmptyShard(const TensorLayout& layout, const Dims& mesh_sizes,
                     int dim) {
  return ShardedDim(layout, mesh_sizes, dim).FirstEmpty();
}

Dims CoordinateOf(int64_t index, const Dims& sizes) {
  Dims coordinate = sizes;
  for (int d = sizes.size() - 1; d >= 0; --d) {
    coordinate[d] = index % sizes[d];
    index /= sizes[d];
  }
  return coordinate;
}

int64_t IndexOf(const Dims& coordinate, const Dims& sizes) {
  int64_t index = 0;
  for (int d = 0; d < sizes.size(); ++d) {
    index = index * sizes[d] + coordinate[d];
  }
  return index;
}

}  // namespace dcp
