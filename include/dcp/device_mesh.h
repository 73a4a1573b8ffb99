// Device meshes: how tensors lie over the ranks of a job, in torch's terms
// (DeviceMesh and DTensor's placements, torch 2.13).

#ifndef DCP_DEVICE_MESH_H_
#define DCP_DEVICE_MESH_H_

#include <cstdint>
#include <memory>
#include <vector>

#include "dcp/dims.h"
#include "dcp/status.h"

namespace dcp {

/// Ranks in a grid.
struct DeviceMesh {
  Dims sizes;
  /// Row-major, as many as `sizes` say: the numbers that ranks have in the
  /// Transport of a save.
  std::vector<uint32_t> ranks;
  bool operator==(const DeviceMesh&) const = default;
};

/// What one dimension of the mesh does with the tensor. A partial tensor is
/// not saved, so it has no placement here.
struct Placement {
  enum class Kind : uint8_t { kReplicate = 0, kShard = 1, kStridedShard = 2 };
  Kind kind = Kind::kReplicate;
  int dim = 0;               ///< of the tensor; 0 if replicated
  int64_t split_factor = 1;  ///< of kStridedShard, 1 for the others

  static Placement Replicate() { return {}; }
  static Placement Shard(int dim) { return {.kind = Kind::kShard, .dim = dim}; }
  static Placement StridedShard(int dim, int64_t split_factor) {
    return {
        .kind = Kind::kStridedShard, .dim = dim, .split_factor = split_factor};
  }
  bool shards(int d) const { return kind != Kind::kReplicate && dim == d; }
  bool operator==(const Placement&) const = default;
};

/// How tensors lie on a mesh, and where on it this rank is. Layouts of one mesh
/// do well to share it.
struct MeshLayout {
  std::shared_ptr<const DeviceMesh> mesh;
  std::vector<Placement> placements;  ///< one per dimension of the mesh
  Dims coordinate;                    ///< of this rank
};

/// The chunk of a tensor of `global_size` that this rank has: the sizes and
/// offsets of torch 2.13's compute_local_shape_and_global_offset. In a
/// dimension where the shard is empty it begins at the global size. \error
/// kInvalidArgument  no mesh, or one that has not as many ranks as its
///     sizes say; not one placement a mesh dimension; a dimension that the
///     tensor does not have; a split factor below 1; a coordinate outside of
///     the mesh
StatusOr<Box> ChunkOf(const MeshLayout& layout, const Dims& global_size);

}  // namespace dcp

#endif  // DCP_DEVICE_MESH_H_
