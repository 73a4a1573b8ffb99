// PlanShare: what a rank writes, in terms of what it listed.
//
// The coordinator's answer to a rank: not items, which the rank knows, but
// which of them, a few hundred bytes for thousands.

#ifndef DCP_PLAN_PLAN_SHARE_H_
#define DCP_PLAN_PLAN_SHARE_H_

#include <cstdint>
#include <string>
#include <string_view>
#include <vector>

#include "dcp/plan.h"

namespace dcp {

/// Items [begin, end) of a rank's local plan.
struct ItemRun {
  uint32_t begin = 0;
  uint32_t end = 0;
  bool operator==(const ItemRun&) const = default;
};

/// Rows [row_begin, row_begin + rows) of the chunk of item `item`.
struct ItemPiece {
  uint32_t item = 0;
  int64_t row_begin = 0;
  int64_t rows = 0;
  bool operator==(const ItemPiece&) const = default;
};

struct PlanShare {
  uint32_t item_count = 0;        ///< of the local plan
  std::vector<ItemRun> whole;     ///< ascending, apart
  std::vector<ItemPiece> pieces;  ///< by item, of others, at most one of each
  bool operator==(const PlanShare&) const = default;
};

std::string SerializePlanShare(const PlanShare& share);
/// \error kDataLoss  truncated or malformed
/// \error kFailedPrecondition  written by a version that this one cannot read
StatusOr<PlanShare> ParsePlanShare(std::string_view data);

/// What the rank of `local` writes: an element of GlobalPlan::plans.
/// \error kDataLoss  it is no share of this plan
StatusOr<SavePlan> ApplyShare(const PlanShare& share, SavePlan local);

}  // namespace dcp

#endif  // DCP_PLAN_PLAN_SHARE_H_
