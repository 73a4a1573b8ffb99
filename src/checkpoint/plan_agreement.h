// PlanAgreement: how the ranks of a save come to know who writes what.

#ifndef DCP_CHECKPOINT_PLAN_AGREEMENT_H_
#define DCP_CHECKPOINT_PLAN_AGREEMENT_H_

#include <cstddef>
#include <functional>
#include <memory>
#include <optional>
#include <string>

#include "checkpoint/agreed_plan.h"
#include "checkpoint/plan_decider.h"
#include "checkpoint/plan_keeper.h"
#include "checkpoint/planning_messages.h"
#include "checkpoint/save_planning.h"
#include "dcp/transport.h"

namespace dcp {

/// One rank's part in the planning of one save.
class PlanAgreement {
 public:
  /// What a rank has to save.
  struct Proposal {
    LocalPlan local;
    std::optional<StateSpec> spec;  ///< of `local`, if it has one
  };

  /// `keeper` is asked on the coordinating rank.
  PlanAgreement(Transport& transport, PlanKeeper& keeper,
                const SaveOptions& options);

  /// Collective: all ranks succeed, or all get the same failures. What only
  /// this rank gets is an error of the transport, or a reply that it cannot
  /// read: it takes no further part, and the others have to miss it.
  Status Reach(StatusOr<Proposal> mine);

  /// What this rank writes; once, after Reach. An error is this rank's alone,
  /// which the others learn as they learn of one in writing.
  /// \error kDataLoss  an answer that is garbled, or does not fit the proposal
  StatusOr<LocalPlan> TakePart();

 private:
  using Messages = PlanDecider::Messages;

  StatusOr<std::string> MakeOffer(StatusOr<Proposal> mine);
  /// Sends `message` and takes what the coordinator replies to all of them.
  Status Ask(StatusOr<std::string> message,
             const std::function<StatusOr<Messages>(Messages)>& answer);
  /// From here on the state is that of the tensors.
  Status ExchangeObjects();
  Status ExchangeStates(bool is_asked);
  Status ExchangePlans();
  /// Takes the plan that follows from the states of all ranks.
  Status Join(JoinedStates joined);
  /// The plan `id`: the one that is known, or that of the state that this rank
  /// has, on all ranks.
  StatusOr<std::shared_ptr<const DerivedPlan>> DerivedOf(const Digest128& id);
  /// Fills agreed_.
  Status Agree(const TakeDerived& told);
  Status Agree(const TakeBeside& told);
  /// What this rank writes of agreed_.
  SavePlan MyShare() const;

  /// The last reply, if it is this one.
  template <typename Reply>
  const Reply* Replied() const {
    return reply_.ok() ? std::get_if<Reply>(&*reply_) : nullptr;
  }
  std::shared_ptr<const AgreedPlan> last() const {
    return options_.plan_cache ? options_.plan_cache->last_ : nullptr;
  }
  size_t world_size() const {
    return static_cast<size_t>(transport_.world_size());
  }

  Transport& transport_;
  const SaveOptions& options_;
  const GlobalPlanOptions plan_options_;
  PlanDecider decider_;
  LocalPlan local_;
  std::optional<StateSpec> spec_;
  std::string state_;                                  // StateMessage of spec_
  StatusOr<PlanReply> reply_ = PlanReply(SendPlan{});  // the last one
  SavePlan objects_;  // of local_, if they were sent
  /// Of all states, and its id; null if the coordinator has it.
  std::shared_ptr<const DerivedPlan> derived_;
  Digest128 derived_id_;
  std::shared_ptr<const AgreedPlan> agreed_;
};

}  // namespace dcp

#endif  // DCP_CHECKPOINT_PLAN_AGREEMENT_H_
