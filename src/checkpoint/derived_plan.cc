#include "checkpoint/derived_plan.h"

#include <utility>

namespace dcp {

StatusOr<std::shared_ptr<const DerivedPlan>> DerivePlan(PlanBasis basis) {
  auto derived = std::make_shared<DerivedPlan>();
  derived->basis = std::move(basis);
  DCP_ASSIGN_OR_RETURN(
      ClosedFormPlan plan,
      ClosedFormPlan::Make(derived->basis.specs, derived->basis.spec_of_rank,
                           derived->basis.options));
  derived->plan = std::make_unique<const ClosedFormPlan>(std::move(plan));
  return std::shared_ptr<const DerivedPlan>(std::move(derived));
}

}  // namespace dcp
