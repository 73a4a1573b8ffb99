// FindOverlap: two boxes of many that have an element in common.

#ifndef DCP_PLAN_BOX_OVERLAP_H_
#define DCP_PLAN_BOX_OVERLAP_H_

#include <cstddef>
#include <optional>
#include <span>
#include <utility>

#include "dcp/dims.h"

namespace dcp {

/// Positions of two boxes that overlap, nullopt if none do. Boxes have equal
/// ndim and lie in bounds of some tensor; empty ones overlap nothing.
///
/// O(n log n) for boxes that a few levels of straight cuts separate (every
/// sharding over a device mesh), O(n log^d n) for any others, where d is the
/// number of dimensions in which boxes differ.
std::optional<std::pair<size_t, size_t>> FindOverlap(
    std::span<const Box> boxes);

}  // namespace dcp

#endif  // DCP_PLAN_BOX_OVERLAP_H_
