#include "plan/holder_grid.h"

#include <algorithm>

namespace dcp {
namespace {

bool IsRun(std::span<const uint32_t> ranks) {
  uint32_t gaps = 0;
  for (size_t i = 0; i < ranks.size(); ++i) {
    gaps |= ranks[i] - ranks[0] - static_cast<uint32_t>(i);
  }
  return gaps == 0;
}

bool IsAscending(std::span<const uint32_t> ranks) {
  for (size_t i = 1; i < ranks.size(); ++i) {
    if (ranks[i] <= ranks[i - 1]) return false;
  }
  return true;
}

}  // namespace

HolderGrid HolderGrid::Of(const DeviceMesh& mesh) {
  HolderGrid grid{.sizes = mesh.sizes,
                  .count = static_cast<int64_t>(mesh.ranks.size()),
                  .first = mesh.ranks.empty() ? 0 : mesh.ranks[0],
                  .ranks = mesh.ranks};
  grid.is_run = IsRun(grid.ranks);
  grid.is_ascending = grid.is_run || IsAscending(grid.ranks);
  return grid;
}

std::optional<int64_t> HolderGrid::Find(uint32_t rank) const {
  if (is_run) {
    if (rank < first || rank - first >= count) return std::nullopt;
    return rank - first;
  }
  const auto found = is_ascending
                         ? std::lower_bound(ranks.begin(), ranks.end(), rank)
                         : std::find(ranks.begin(), ranks.end(), rank);
  if (found == ranks.end() || *found != rank) return std::nullopt;
  return found - ranks.begin();
}

}  // namespace dcp
