// PlanKeeper: who has to do with the plan that the ranks of a save agree on.

#ifndef DCP_CHECKPOINT_PLAN_KEEPER_H_
#define DCP_CHECKPOINT_PLAN_KEEPER_H_

#include <span>
#include <string>
#include <vector>

#include "checkpoint/agreed_plan.h"
#include "dcp/status.h"
#include "plan/plan_share.h"

namespace dcp {

/// On the coordinator; notes are the storage's, by rank.
class PlanKeeper {
 public:
  /// What each rank is to know of the global plan.
  struct Decision {
    std::vector<PlanShare> shares;
    std::vector<std::string> notes;
  };

  virtual ~PlanKeeper() = default;

  /// Plans from all ranks' plan messages (SerializePlanMessage), which it
  /// frees.
  virtual StatusOr<Decision> Plan(std::span<std::string> messages,
                                  std::span<const std::string> notes) = 0;
  /// Takes the plan that all ranks derive, and objects that were gathered;
  /// notes for each.
  virtual StatusOr<std::vector<std::string>> Adopt(
      const AgreedPlan& agreed, std::span<const std::string> notes) = 0;
};

}  // namespace dcp

#endif  // DCP_CHECKPOINT_PLAN_KEEPER_H_
