// How a DTensor lies over the ranks of a device mesh: torch's rules, in closed
// form.

#ifndef DCP_PLAN_MESH_LAYOUT_H_
#define DCP_PLAN_MESH_LAYOUT_H_

#include <cstdint>
#include <string>
#include <vector>

#include "dcp/device_mesh.h"
#include "dcp/dims.h"
#include "dcp/status.h"

namespace dcp {

struct TensorLayout {
  Dims global_size;
  /// Number of the mesh among those of the state (StateSpec::meshes).
  uint32_t mesh = 0;
  std::vector<Placement> placements;  ///< one per dimension of the mesh
  bool operator==(const TensorLayout&) const = default;
};

/// "[8, 8] over [2, 4] as (S(0), _S(1, 2), R)", for messages.
std::string ToString(const TensorLayout& layout, const Dims& mesh_sizes);

/// Checks that `mesh` has as many ranks as its sizes say.
/// \error kInvalidArgument
Status CheckMesh(const DeviceMesh& mesh);

/// \error kInvalidArgument  sizes below 1 or more than 2^31 ranks in the mesh,
///     an impossible global size, not one placement a mesh dimension, a
///     dimension that the tensor does not have, a split factor below 1
Status CheckLayout(const TensorLayout& layout, const Dims& mesh_sizes);

/// The chunk of the rank at `coordinate` of the mesh: the sizes and offsets of
/// torch 2.13's compute_local_shape_and_global_offset, which DTensor's write
/// items and chunk lists are made of. In a dimension where the shard is empty
/// it begins at the global size.
///
/// A strided shard that is no run of rows has the offset of its first one, as
/// in torch; see HasWholeRuns.
/// \error kInvalidArgument  as CheckLayout; a coordinate outside of the mesh
StatusOr<Box> ChunkAt(const TensorLayout& layout, const Dims& mesh_sizes,
                      const Dims& coordinate);

/// As ChunkAt, of what CheckLayout and the mesh allow.
Box KnownChunkAt(const TensorLayout& layout, const Dims& mesh_sizes,
                 const Dims& coordinate);

/// Whether every rank's shard is one run of rows in each dimension. Then the
/// chunks of the mesh are disjoint and cover the tensor; a strided shard alone
/// can break that. `layout` has passed CheckLayout.
bool HasWholeRuns(const TensorLayout& layout, const Dims& mesh_sizes);

/// The first coordinate, in row-major order, of the mesh dimensions that shard
/// `dim`, whose shard there has no rows; 0 in the others. Some coordinate has
/// such a shard.
Dims FirstEmptyShard(const TensorLayout& layout, const Dims& mesh_sizes,
                     int dim);

/// The coordinate of element `index` of a row-major grid, and back.
Dims CoordinateOf(int64_t index, const Dims& sizes);
int64_t IndexOf(const Dims& coordinate, const Dims& sizes);

}  // namespace dcp

#endif  // DCP_PLAN_MESH_LAYOUT_H_
