// DerivedPlan: a plan in closed form, with all that it was derived from.

#ifndef DCP_CHECKPOINT_DERIVED_PLAN_H_
#define DCP_CHECKPOINT_DERIVED_PLAN_H_

#include <cstdint>
#include <memory>
#include <vector>

#include "dcp/plan.h"
#include "plan/closed_form_plan.h"
#include "plan/state_spec.h"

namespace dcp {

/// The same on all ranks.
struct PlanBasis {
  std::vector<StateSpec> specs;
  std::vector<uint32_t> spec_of_rank;
  GlobalPlanOptions options;
};

/// Immutable once it is made.
struct DerivedPlan {
  PlanBasis basis;
  std::unique_ptr<const ClosedFormPlan> plan;  ///< refers to `basis`
};

/// \error kUnimplemented  the state is not of closed form
StatusOr<std::shared_ptr<const DerivedPlan>> DerivePlan(PlanBasis basis);

}  // namespace dcp

#endif  // DCP_CHECKPOINT_DERIVED_PLAN_H_
