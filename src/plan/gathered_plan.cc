#include "plan/gathered_plan.h"

#include <utility>

#include "plan/column_plan.h"

namespace dcp {

StatusOr<GatheredPlan> GatherPlans(std::span<std::string> messages,
                                   const GlobalPlanOptions& options) {
  DCP_ASSIGN_OR_RETURN(PlanColumns columns, PlanColumns::Read(messages));
  DCP_ASSIGN_OR_RETURN(ColumnPlan plan,
                       ColumnPlan::Make(std::move(columns), options));
  GatheredPlan gathered;
  for (size_t rank = 0; rank < plan.rank_count(); ++rank) {
    gathered.shares.push_back(plan.ShareOf(rank));
  }
  gathered.global.plans = plan.MakePlans();
  gathered.global.metadata = std::move(plan).MakeMetadata();
  return gathered;
}

}  // namespace dcp
