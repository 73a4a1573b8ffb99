// HolderGrid: ranks that hold a tensor together.

#ifndef DCP_PLAN_HOLDER_GRID_H_
#define DCP_PLAN_HOLDER_GRID_H_

#include <cstdint>
#include <optional>
#include <span>

#include "dcp/dims.h"
#include "plan/mesh_layout.h"

namespace dcp {

/// The ranks that hold a tensor, in a grid. Those of a spec are a grid too, of
/// one dimension, on which whole tensors and objects are replicated.
struct HolderGrid {
  Dims sizes;
  int64_t count = 0;
  uint32_t first = 0;
  bool is_ascending = true;
  bool is_run = true;  ///< of consecutive ranks: may do without `ranks`
  std::span<const uint32_t> ranks;  ///< row-major, those of the mesh

  /// Refers to `mesh`.
  static HolderGrid Of(const DeviceMesh& mesh);

  uint32_t RankAt(int64_t index) const {
    return is_run ? first + static_cast<uint32_t>(index)
                  : ranks[static_cast<size_t>(index)];
  }
  /// The index of `rank`. O(1) for a run, O(log n) if ascending, else O(n).
  std::optional<int64_t> Find(uint32_t rank) const;
};

}  // namespace dcp

#endif  // DCP_PLAN_HOLDER_GRID_H_
