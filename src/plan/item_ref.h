// ItemRef: one item of one rank's plan.

#ifndef DCP_PLAN_ITEM_REF_H_
#define DCP_PLAN_ITEM_REF_H_

#include <cstdint>

namespace dcp {

/// Item `item` of the plan of rank `rank`.
struct ItemRef {
  uint32_t rank = 0;
  uint32_t item = 0;
};

}  // namespace dcp

#endif  // DCP_PLAN_ITEM_REF_H_
