// Which rank would hold what of a checkpoint.

#ifndef DCP_CHECKPOINT_RESHARD_PLAN_H_
#define DCP_CHECKPOINT_RESHARD_PLAN_H_

#include <cstddef>
#include <vector>

#include "checkpoint/conversion_plan.h"
#include "dcp/convert.h"
#include "dcp/metadata.h"
#include "dcp/status.h"

namespace dcp {

struct ReshardPlan {
  /// By rank; what each writes, in the order of the checkpoint.
  std::vector<ConversionPlan> ranks;
  ConvertResult totals;
};

/// Plans from the metadata alone, which outlives the plan; by the rules of
/// ReshardCheckpoint.
/// \error kDataLoss  the metadata does not say where something is stored
StatusOr<ReshardPlan> PlanReshard(const Metadata& metadata, size_t rank_count);

}  // namespace dcp

#endif  // DCP_CHECKPOINT_RESHARD_PLAN_H_
