// PlanDecider: what the coordinator answers to ranks that plan a save.

#ifndef DCP_CHECKPOINT_PLAN_DECIDER_H_
#define DCP_CHECKPOINT_PLAN_DECIDER_H_

#include <cstddef>
#include <cstdint>
#include <memory>
#include <optional>
#include <string>
#include <utility>
#include <vector>

#include "checkpoint/agreed_plan.h"
#include "checkpoint/plan_keeper.h"
#include "checkpoint/planning_messages.h"
#include "plan/gathered_plan.h"

namespace dcp {

/// Whether so many distinct states of `world_size` ranks are not worth to be
/// sent, so that ranks are asked for what is left of them without objects.
bool HasTooManyStates(size_t states, size_t world_size);

/// The coordinator's side of plan_agreement.cc, for one save. Messages are by
/// rank.
///
/// \error RankFailures  a message is garbled or of another version; names the
///     rank
class PlanDecider {
 public:
  using Messages = std::vector<std::string>;

  /// `last` is the plan that this rank remembers; may be null.
  PlanDecider(PlanKeeper& keeper, const GlobalPlanOptions& options,
              std::shared_ptr<const AgreedPlan> last)
      : keeper_(keeper), options_(options), last_(std::move(last)) {}

  /// From PlanOffers to PlanReplies. `own` is the coordinating rank's spec, if
  /// it announced one.
  StatusOr<Messages> AnswerOffers(Messages offers, const StateSpec* own);
  /// From StateParts to PlanReplies. `own` is without objects.
  StatusOr<Messages> AnswerObjects(Messages messages, const StateSpec& own);
  /// From the StateMessages of those that were asked to JoinedStates.
  StatusOr<std::string> JoinStates(const Messages& states);
  /// To ranks that have derived the plan of JoinedStates: PlanReplies.
  StatusOr<Messages> AnswerDerived();
  /// From the plan messages of those that had announced states to PlanReplies.
  StatusOr<Messages> AnswerPlans(Messages messages);

  /// What to remember: the plan, or that the states have none of closed form.
  /// Null if neither is known.
  const std::shared_ptr<const AgreedPlan>& agreed() const { return agreed_; }

 private:
  /// Fills what is by rank.
  Status ReadOffers(Messages offers);
  /// Has the ranks announce their states without objects; the plan messages of
  /// these.
  StatusOr<Messages> ReadParts(Messages messages);
  /// Of what the ranks announced, after NumberStates, and the options of this
  /// one.
  Digest128 IdOfAll() const;
  bool AllHold(const Digest128& id) const;
  /// Fills state_of_rank_ and lowest_ranks_.
  void NumberStates();
  /// Derives the plan if all have the state `own`, else asks for all states.
  StatusOr<Messages> AnswerStates(const StateSpec* own);
  /// Derives the plan; false if it is not of closed form, which is noted.
  StatusOr<bool> Derive(std::vector<StateSpec> specs);
  /// Remembers that the states have no plan that ranks derive.
  void NoteNone();
  StatusOr<Messages> Shares();

  PlanKeeper& keeper_;
  const GlobalPlanOptions options_;
  const std::shared_ptr<const AgreedPlan> last_;
  std::shared_ptr<const AgreedPlan> agreed_;

  std::vector<AnnouncedState> announced_;  // 0 where a plan came
  Messages plans_;                         // empty where a state was announced
  Messages notes_;
  Digest128 id_;          // of the plan of all that was announced first
  Digest128 derived_id_;  // and of the one that ranks derive
  std::optional<GatheredPlan> gathered_;  // objects beside it
  std::vector<uint32_t> state_of_rank_;
  std::vector<size_t> lowest_ranks_;  // by state
};

}  // namespace dcp

#endif  // DCP_CHECKPOINT_PLAN_DECIDER_H_
