// What ranks tell each other to agree who writes what (plan_agreement.cc).

#ifndef DCP_CHECKPOINT_PLANNING_MESSAGES_H_
#define DCP_CHECKPOINT_PLANNING_MESSAGES_H_

#include <cstdint>
#include <optional>
#include <span>
#include <string>
#include <string_view>
#include <variant>
#include <vector>

#include "base/digest128.h"
#include "dcp/plan.h"
#include "plan/state_spec.h"

namespace dcp {

// All Parse functions:
// \error kDataLoss            truncated or malformed
// \error kFailedPrecondition  of a version that this one cannot read

/// A rank whose state has a spec sends what that is, by digest.
struct AnnouncedState {
  Digest128 digest;  ///< of its StateMessage
  Digest128 held;    ///< AgreedPlan::id of the plan that it has; 0 for none
};

/// What a rank sends first.
struct PlanOffer {
  /// Else its plan message (SerializePlanMessage).
  std::variant<AnnouncedState, std::string> state;
  std::string notes;  ///< its storage's
};
std::string SerializeOffer(const PlanOffer& offer);
StatusOr<PlanOffer> ParseOffer(std::string_view data);

/// The coordinator made a plan of all ranks' plans.
struct TakeShare {
  std::string share;  ///< SerializePlanShare
  std::string notes;
};
/// The plan follows from what this rank has: it is the one of this id that it
/// has been told of before, or that of its own state on all ranks.
struct TakeDerived {
  Digest128 id;
  std::string notes;
};
/// As TakeDerived, but that the plan `tensors` is of what ranks have without
/// objects. Of these each writes its share of the ones that it has sent.
struct TakeBeside {
  Digest128 id;
  Digest128 tensors;
  std::string share;  ///< SerializePlanShare
  std::string notes;
};
/// All send StateParts next: their states are too many, maybe for objects that
/// each rank has for itself.
struct SendObjects {};
/// Those that are asked send their state next, the others nothing: that without
/// objects, if these were sent.
struct SendState {
  bool is_asked = false;
};
/// All send their plans next, but for those that have already.
struct SendPlan {};

using PlanReply = std::variant<TakeShare, TakeDerived, SendState, SendPlan,
                               SendObjects, TakeBeside>;
std::string SerializeReply(const PlanReply& reply);
StatusOr<PlanReply> ParseReply(std::string_view data);
/// Whether a reply that cannot be parsed was the last one, by its kind.
bool WasLastReply(std::string_view data);

/// A state whose objects are sent, and the rest announced.
struct StateParts {
  Digest128 tensors;    ///< of the StateMessage of the state without objects
  std::string objects;  ///< SerializePlanMessage
};
std::string SerializeParts(const StateParts& parts);
StatusOr<StateParts> ParseParts(std::string_view data);

/// A spec with all else that a plan depends on: what is announced by digest.
std::string StateMessage(const StateSpec& spec,
                         const GlobalPlanOptions& options);
/// \error kDataLoss  also if it is not what was `announced`
StatusOr<StateSpec> ParseStateMessage(std::string_view data,
                                      const Digest128& announced);

/// The id of the plan that follows from what ranks announced: distinct states,
/// by digest, in the order of their lowest ranks, the number of each rank's,
/// and the coordinator's options.
Digest128 PlanIdOf(std::span<const Digest128> states,
                   std::span<const uint32_t> state_of_rank,
                   const GlobalPlanOptions& options);

/// What the coordinator makes of distinct states, for all ranks.
struct JoinedStates {
  Digest128 id;
  std::vector<std::string> states;  ///< StateMessages
  std::vector<uint32_t> spec_of_rank;
  GlobalPlanOptions options;  ///< the coordinator's
};
/// nullopt: send plans.
std::string SerializeJoined(const std::optional<JoinedStates>& joined);
/// \error kDataLoss  also if it is not of `world_size` ranks
StatusOr<std::optional<JoinedStates>> ParseJoined(std::string_view data,
                                                  size_t world_size);

}  // namespace dcp

#endif  // DCP_CHECKPOINT_PLANNING_MESSAGES_H_
