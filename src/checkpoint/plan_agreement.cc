// 1. Every rank makes the coordinator an offer. Where all of its entries follow
//    from how tensors lie over ranks, that is a digest of what it has, its
//    state (32 bytes with that of the plan which it remembers); else it is its
//    plan, a list of all of its items. One reply each decides for all ranks:
// 2. All sent plans: the coordinator makes the global plan of them, and each
//    rank learns its share. That was all (gather mode).
// 3. All hold the plan of just these digests, from the last save: that is it,
//    and that was all. Or all have the same state: each derives the plan of it.
// 4. Several states: the lowest rank of each sends it, the coordinator sends
//    all of them to all ranks, and each derives the plan. A plan is in effect
//    when all have said that they have it.
// 5. More states than are worth to be sent, as where each rank has an object
//    for itself: every rank sends the digest of its state without objects, and
//    the plan of these. It goes on as in 3 or 4 with what is left; the
//    coordinator makes the plan of the objects as in 2, and the last reply has
//    each rank's share of them.
// 6. Some sent plans, states are too many without objects or too large, or the
//    plan is not of closed form (which the coordinator finds out, for all): who
//    has not yet sent its plan does so, and it goes on as in 2.
//
// The plan is a pure function of the states, so it needs no more checks than
// that ranks have the same digest. Only the coordinator's options count; they
// are in the digest of each state, too, so that who derives the plan alone has
// the same ones. The storage's notes travel with the offer and the last reply.
//
// A rank that cannot read a reply, nor that it was the last one (then the
// others learn of it as of an error in writing), does not know what they do. It
// leaves, and they learn of it from the transport, as of any rank that is gone:
// an exchange that it began could be another one than theirs, and all would
// wait.

#include "checkpoint/plan_agreement.h"

#include <span>
#include <utility>
#include <vector>

#include "base/free_memory.h"
#include "base/guarded.h"
#include "checkpoint/rank_exchange.h"
#include "plan/plan_message.h"
#include "plan/plan_share.h"

namespace dcp {
namespace {

constexpr std::string_view kPhase = "plan";

Status HasNoPart() {
  return DataLoss("a rank is told of a plan that it has no part in");
}

/// Checks that the plan `id` is that of `basis`, whose specs were announced as
/// `digests`: of others, ranks would each write what they take for theirs.
Status CheckId(const Digest128& id, const PlanBasis& basis,
               std::span<const Digest128> digests) {
  const bool is_same =
      PlanIdOf(digests, basis.spec_of_rank, basis.options) == id;
  return is_same ? absl::OkStatus() : HasNoPart();
}

GlobalPlanOptions PlanOptionsOf(const SaveOptions& options) {
  return {.dedup_to_lowest_rank = options.dedup_to_lowest_rank,
          .split_nbytes = options.split_nbytes};
}

}  // namespace

PlanAgreement::PlanAgreement(Transport& transport, PlanKeeper& keeper,
                             const SaveOptions& options)
    : transport_(transport),
      options_(options),
      plan_options_(PlanOptionsOf(options)),
      decider_(keeper, plan_options_, last()) {}

Status PlanAgreement::Reach(StatusOr<Proposal> mine) {
  StatusOr<std::string> offer =
      Guarded([&] { return MakeOffer(std::move(mine)); });
  DCP_RETURN_IF_ERROR(Ask(std::move(offer), [this](Messages offers) {
    return decider_.AnswerOffers(std::move(offers), spec_ ? &*spec_ : nullptr);
  }));
  if (Replied<SendObjects>() != nullptr) {
    DCP_RETURN_IF_ERROR(ExchangeObjects());
  }
  if (const auto* state = Replied<SendState>()) {
    DCP_RETURN_IF_ERROR(ExchangeStates(state->is_asked));
  }
  if (Replied<SendPlan>() != nullptr) DCP_RETURN_IF_ERROR(ExchangePlans());
  return absl::OkStatus();
}

StatusOr<std::string> PlanAgreement::MakeOffer(StatusOr<Proposal> mine) {
  DCP_RETURN_IF_ERROR(mine.status());
  local_ = std::move(mine->local);
  spec_ = std::move(mine->spec);
  PlanOffer offer{.notes = local_.notes};
  if (spec_) {
    state_ = StateMessage(*spec_, plan_options_);
    const auto held = last();
    offer.state = AnnouncedState{.digest = DigestOf(state_),
                                 .held = held ? held->id : Digest128{}};
  } else {
    offer.state = SerializePlanMessage(local_.plan);
    local_.plan.planner_data.reset();  // large, and said by now
  }
  return SerializeOffer(offer);
}

Status PlanAgreement::Ask(
    StatusOr<std::string> message,
    const std::function<StatusOr<Messages>(Messages)>& answer) {
  DCP_ASSIGN_OR_RETURN(
      const std::string reply,
      ReduceScatter(transport_, kPhase, std::move(message), answer));
  reply_ = ParseReply(reply);
  const bool goes_on = reply_.ok() || WasLastReply(reply);
  return goes_on ? absl::OkStatus() : reply_.status();
}

Status PlanAgreement::ExchangeObjects() {
  StatusOr<std::string> parts = Guarded([&]() -> StatusOr<std::string> {
    if (!spec_) return HasNoPart();
    spec_ = WithoutObjects(*std::move(spec_));
    state_ = StateMessage(*spec_, plan_options_);
    objects_ = ObjectsOf(local_.plan);
    return SerializeParts({.tensors = DigestOf(state_),
                           .objects = SerializePlanMessage(objects_)});
  });
  return Ask(std::move(parts), [this](Messages messages) {
    return decider_.AnswerObjects(std::move(messages), *spec_);
  });
}

Status PlanAgreement::ExchangeStates(bool is_asked) {
  const auto join = [this](const Messages& states) {
    return Guarded([&] { return decider_.JoinStates(states); });
  };
  DCP_ASSIGN_OR_RETURN(
      const std::string message,
      AllReduce(transport_, kPhase, is_asked ? state_ : std::string(), join));
  StatusOr<std::optional<JoinedStates>> joined =
      Guarded([&] { return ParseJoined(message, world_size()); });
  if (joined.ok() && !*joined) {
    reply_ = SendPlan{};
    return absl::OkStatus();
  }
  const Status derived = Guarded([&]() -> Status {
    DCP_RETURN_IF_ERROR(joined.status());
    return Join(**std::move(joined));
  });
  StatusOr<std::string> ready{std::string()};
  if (!derived.ok()) ready = derived;
  return Ask(std::move(ready),
             [this](const Messages&) { return decider_.AnswerDerived(); });
}

Status PlanAgreement::Join(JoinedStates joined) {
  if (decider_.agreed() != nullptr) return absl::OkStatus();
  PlanBasis basis{.spec_of_rank = std::move(joined.spec_of_rank),
                  .options = joined.options};
  std::vector<Digest128> digests;
  for (std::string& state : joined.states) {
    digests.push_back(DigestOf(state));
    DCP_ASSIGN_OR_RETURN(StateSpec spec,
                         ParseStateMessage(state, digests.back()));
    FreeMemory(&state);
    basis.specs.push_back(std::move(spec));
  }
  DCP_RETURN_IF_ERROR(CheckId(joined.id, basis, digests));
  derived_id_ = joined.id;
  DCP_ASSIGN_OR_RETURN(derived_, DerivePlan(std::move(basis)));
  return absl::OkStatus();
}

Status PlanAgreement::ExchangePlans() {
  StatusOr<std::string> plan = Guarded([&]() -> StatusOr<std::string> {
    return spec_ ? SerializePlanMessage(local_.plan) : std::string();
  });
  return Ask(std::move(plan), [this](Messages messages) {
    return decider_.AnswerPlans(std::move(messages));
  });
}

StatusOr<std::shared_ptr<const DerivedPlan>> PlanAgreement::DerivedOf(
    const Digest128& id) {
  const auto& decided = decider_.agreed();
  if (decided != nullptr && decided->derived) return decided->derived;
  if (derived_ != nullptr && derived_id_ == id) return derived_;
  if (!spec_) return HasNoPart();
  PlanBasis basis{.spec_of_rank = std::vector<uint32_t>(world_size(), 0),
                  .options = plan_options_};
  const Digest128 mine = DigestOf(state_);
  DCP_RETURN_IF_ERROR(CheckId(id, basis, {&mine, 1}));
  basis.specs.push_back(*std::move(spec_));
  return DerivePlan(std::move(basis));
}

Status PlanAgreement::Agree(const TakeDerived& told) {
  agreed_ = last();
  if (agreed_ != nullptr && agreed_->id == told.id && agreed_->derived) {
    return absl::OkStatus();
  }
  DCP_ASSIGN_OR_RETURN(auto derived, DerivedOf(told.id));
  agreed_ = std::make_shared<const AgreedPlan>(
      AgreedPlan{.id = told.id, .derived = std::move(derived)});
  return absl::OkStatus();
}

Status PlanAgreement::Agree(const TakeBeside& told) {
  DCP_ASSIGN_OR_RETURN(auto derived, DerivedOf(told.tensors));
  DCP_ASSIGN_OR_RETURN(const PlanShare share, ParsePlanShare(told.share));
  AgreedPlan agreed{.id = told.id, .derived = std::move(derived)};
  DCP_ASSIGN_OR_RETURN(agreed.own_objects,
                       ApplyShare(share, std::move(objects_)));
  if (decider_.agreed() != nullptr) agreed.objects = decider_.agreed()->objects;
  agreed_ = std::make_shared<const AgreedPlan>(std::move(agreed));
  return absl::OkStatus();
}

SavePlan PlanAgreement::MyShare() const {
  return ShareOf(*agreed_, static_cast<uint32_t>(transport_.rank()),
                 local_.plan);
}

StatusOr<LocalPlan> PlanAgreement::TakePart() {
  DCP_RETURN_IF_ERROR(reply_.status());
  LocalPlan mine;
  if (const auto* derived = Replied<TakeDerived>()) {
    DCP_RETURN_IF_ERROR(Agree(*derived));
    mine = {.plan = MyShare(), .notes = derived->notes};
  } else if (const auto* beside = Replied<TakeBeside>()) {
    DCP_RETURN_IF_ERROR(Agree(*beside));
    mine = {.plan = MyShare(), .notes = beside->notes};
  } else {
    const auto* told = Replied<TakeShare>();
    if (told == nullptr) return FailedPrecondition("TakePart() before Reach()");
    DCP_ASSIGN_OR_RETURN(const PlanShare share, ParsePlanShare(told->share));
    DCP_ASSIGN_OR_RETURN(mine.plan, ApplyShare(share, std::move(local_.plan)));
    mine.notes = told->notes;
    agreed_ = decider_.agreed();  // that there is no plan of closed form
  }
  if (options_.plan_cache != nullptr && agreed_ != nullptr) {
    options_.plan_cache->last_ = agreed_;
  }
  local_ = {};
  return mine;
}

}  // namespace dcp
