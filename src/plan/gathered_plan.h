// GatheredPlan: the global plan of all ranks' messages, and what to answer.

#ifndef DCP_PLAN_GATHERED_PLAN_H_
#define DCP_PLAN_GATHERED_PLAN_H_

#include <span>
#include <string>
#include <vector>

#include "dcp/plan.h"
#include "plan/plan_share.h"

namespace dcp {

struct GatheredPlan {
  std::vector<PlanShare> shares;  ///< by rank
  GlobalPlan global;
};

/// From all ranks' plan messages (SerializePlanMessage), which it frees.
/// \error kDataLoss, kFailedPrecondition  as SplitPlanMessage; names the rank
/// \error kInvalidArgument  as CreateGlobalSavePlan
StatusOr<GatheredPlan> GatherPlans(std::span<std::string> messages,
                                   const GlobalPlanOptions& options);

}  // namespace dcp

#endif  // DCP_PLAN_GATHERED_PLAN_H_
