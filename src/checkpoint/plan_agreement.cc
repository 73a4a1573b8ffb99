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
// 5. Some sent plans, states are too many or too large, or the plan is not of
//    closed form (which the coordinator finds out, for all): who has not yet
//    sent its plan does so, and it goes on as in 2.
//
// The plan is a pure function of the states, so it needs no more checks than
// that ranks have the same digest. Only the coordinator's options count; they
// are in the digest of each state, too, so that who derives the plan alone has
// the same ones. The storage's notes travel with the offer and the last reply.
//
// A rank that cannot read a reply does not know what the others do next. It
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
  if (const auto* state = Replied<SendState>()) {
    DCP_RETURN_IF_ERROR(ExchangeStates(state->is_asked));
  }
  if (Replied<SendPlan>() != nullptr) DCP_RETURN_IF_ERROR(ExchangePlans());
  // On the coordinator; also that there is no plan of closed form.
  if (decider_.derived() != nullptr) derived_ = decider_.derived();
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
  DCP_ASSIGN_OR_RETURN(reply_, ParseReply(reply));
  return absl::OkStatus();
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
  derived_ = decider_.derived();
  if (derived_ != nullptr) return absl::OkStatus();
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
  DCP_ASSIGN_OR_RETURN(derived_, DerivePlan(joined.id, std::move(basis)));
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

Status PlanAgreement::DeriveAlone(const Digest128& id) {
  if (derived_ == nullptr) derived_ = last();
  if (derived_ != nullptr && derived_->id == id && derived_->plan) {
    return absl::OkStatus();
  }
  if (!spec_) return HasNoPart();
  PlanBasis basis{.spec_of_rank = std::vector<uint32_t>(world_size(), 0),
                  .options = plan_options_};
  const Digest128 mine = DigestOf(state_);
  DCP_RETURN_IF_ERROR(CheckId(id, basis, {&mine, 1}));
  basis.specs.push_back(*std::move(spec_));
  DCP_ASSIGN_OR_RETURN(derived_, DerivePlan(id, std::move(basis)));
  return absl::OkStatus();
}

StatusOr<LocalPlan> PlanAgreement::TakePart() {
  LocalPlan mine;
  if (const auto* derived = Replied<TakeDerived>()) {
    DCP_RETURN_IF_ERROR(DeriveAlone(derived->id));
    mine = {.plan = derived_->plan->ShareOf(
                static_cast<uint32_t>(transport_.rank())),
            .notes = derived->notes};
  } else {
    const auto* told = Replied<TakeShare>();
    if (told == nullptr) return FailedPrecondition("TakePart() before Reach()");
    DCP_ASSIGN_OR_RETURN(const PlanShare share, ParsePlanShare(told->share));
    DCP_ASSIGN_OR_RETURN(mine.plan, ApplyShare(share, std::move(local_.plan)));
    mine.notes = told->notes;
  }
  if (options_.plan_cache != nullptr && derived_ != nullptr) {
    options_.plan_cache->last_ = derived_;
  }
  local_ = {};
  return mine;
}

}  // namespace dcp
