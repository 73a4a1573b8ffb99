// Where the elements of a box lie among those of its tensor, row-major both.
//
// In ascending order a box's elements are met in the box's own order, so that
// those within any range of the tensor are a range of the box.

#ifndef DCP_PLAN_BOX_RANGES_H_
#define DCP_PLAN_BOX_RANGES_H_

#include <cstdint>
#include <functional>

#include "dcp/dims.h"

namespace dcp {

/// How many elements of `box` come before element number `position` of a tensor
/// of shape `sizes`, from 0 to its number of elements.
int64_t CountBefore(const Dims& sizes, const Box& box, int64_t position);

/// Consecutive elements of a tensor that are consecutive in a box of it.
struct BoxRun {
  int64_t position = 0;  ///< of the first in the tensor
  int64_t in_box = 0;    ///< of the first in the box
  int64_t count = 0;
  bool operator==(const BoxRun&) const = default;
};

/// Calls `visit` with the runs of the box's elements [begin, end), in order.
void ForEachRunOf(const Dims& sizes, const Box& box, int64_t begin, int64_t end,
                  const std::function<void(const BoxRun&)>& visit);

}  // namespace dcp

#endif  // DCP_PLAN_BOX_RANGES_H_
