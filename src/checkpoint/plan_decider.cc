#include "checkpoint/plan_decider.h"

#include <algorithm>
#include <map>

#include "base/free_memory.h"

namespace dcp {
namespace {

constexpr const char* kPhase = "plan";

// Where more ranks than these have a state of their own, states would be more
// bytes than plans, whose ranks share their keys.
constexpr size_t kManyStates = 16;
constexpr size_t kRanksPerState = 8;

// Every rank takes all states, parses and keeps them, while plans are the
// coordinator's alone. Stages of a pipeline divide one state, of 124 KB for a
// 70B model with its optimizer; but where kinds of ranks differ in their meshes
// only, each kind has all of it.
constexpr size_t kMostStateNbytes = size_t{16} << 20;

Status FailureOf(size_t rank, const Status& status) {
  return MakeRankFailures(
      {.phase = kPhase, .by_rank = {{static_cast<int>(rank), status}}});
}

PlanDecider::Messages ToAll(size_t world_size, const PlanReply& reply) {
  return PlanDecider::Messages(world_size, SerializeReply(reply));
}

}  // namespace

bool HasTooManyStates(size_t states, size_t world_size) {
  return states > std::max(kManyStates, world_size / kRanksPerState);
}

StatusOr<PlanDecider::Messages> PlanDecider::AnswerOffers(
    Messages offers, const StateSpec* own) {
  const size_t world_size = offers.size();
  DCP_RETURN_IF_ERROR(ReadOffers(std::move(offers)));
  const auto sent_plans = static_cast<size_t>(
      std::count_if(plans_.begin(), plans_.end(),
                    [](const std::string& plan) { return !plan.empty(); }));
  if (sent_plans == world_size) return Shares();
  if (sent_plans > 0) return ToAll(world_size, SendPlan{});
  NumberStates();
  id_ = derived_id_ = IdOfAll();
  if (last_ != nullptr && last_->id == id_) {
    agreed_ = last_;
    if (!agreed_->derived) return ToAll(world_size, SendPlan{});
    if (AllHold(id_)) return AnswerDerived();
  }
  if (HasTooManyStates(lowest_ranks_.size(), world_size)) {
    return ToAll(world_size, SendObjects{});
  }
  return AnswerStates(own);
}

StatusOr<PlanDecider::Messages> PlanDecider::AnswerObjects(
    Messages messages, const StateSpec& own) {
  const size_t world_size = messages.size();
  agreed_ = nullptr;  // some rank has lost its part of it
  DCP_ASSIGN_OR_RETURN(Messages objects, ReadParts(std::move(messages)));
  NumberStates();
  derived_id_ = IdOfAll();
  if (HasTooManyStates(lowest_ranks_.size(), world_size)) {
    NoteNone();
    return ToAll(world_size, SendPlan{});
  }
  StatusOr<GatheredPlan> gathered = GatherPlans(objects, options_);
  // What is wrong with them is told with all that ranks have.
  if (gathered.status().code() == absl::StatusCode::kInvalidArgument) {
    return ToAll(world_size, SendPlan{});
  }
  DCP_RETURN_IF_ERROR(gathered.status());
  gathered_ = *std::move(gathered);
  return AnswerStates(&own);
}

StatusOr<PlanDecider::Messages> PlanDecider::AnswerStates(
    const StateSpec* own) {
  const size_t world_size = announced_.size();
  if (lowest_ranks_.size() == 1 && own != nullptr) {
    DCP_ASSIGN_OR_RETURN(const bool is_closed, Derive({*own}));
    return is_closed ? AnswerDerived() : ToAll(world_size, SendPlan{});
  }
  Messages replies = ToAll(world_size, SendState{});
  for (const size_t rank : lowest_ranks_) {
    replies[rank] = SerializeReply(SendState{.is_asked = true});
  }
  return replies;
}

Status PlanDecider::ReadOffers(Messages offers) {
  RankFailures failures{.phase = kPhase, .by_rank = {}};
  for (size_t rank = 0; rank < offers.size(); ++rank) {
    StatusOr<PlanOffer> offer = ParseOffer(offers[rank]);
    FreeMemory(&offers[rank]);
    if (!offer.ok()) {
      failures.by_rank.emplace(static_cast<int>(rank), offer.status());
      continue;
    }
    const auto* announced = std::get_if<AnnouncedState>(&offer->state);
    announced_.push_back(announced ? *announced : AnnouncedState{});
    auto* plan = std::get_if<std::string>(&offer->state);
    plans_.push_back(plan ? std::move(*plan) : std::string());
    notes_.push_back(std::move(offer->notes));
  }
  if (failures.by_rank.empty()) return absl::OkStatus();
  return MakeRankFailures(failures);
}

StatusOr<PlanDecider::Messages> PlanDecider::ReadParts(Messages messages) {
  RankFailures failures{.phase = kPhase, .by_rank = {}};
  Messages objects;
  for (size_t rank = 0; rank < messages.size(); ++rank) {
    StatusOr<StateParts> parts = ParseParts(messages[rank]);
    FreeMemory(&messages[rank]);
    if (!parts.ok()) {
      failures.by_rank.emplace(static_cast<int>(rank), parts.status());
      continue;
    }
    announced_[rank].digest = parts->tensors;
    objects.push_back(std::move(parts->objects));
  }
  if (failures.by_rank.empty()) return objects;
  return MakeRankFailures(failures);
}

Digest128 PlanDecider::IdOfAll() const {
  std::vector<Digest128> states;
  states.reserve(lowest_ranks_.size());
  for (const size_t rank : lowest_ranks_) {
    states.push_back(announced_[rank].digest);
  }
  return PlanIdOf(states, state_of_rank_, options_);
}

bool PlanDecider::AllHold(const Digest128& id) const {
  return std::all_of(
      announced_.begin(), announced_.end(),
      [&](const AnnouncedState& state) { return state.held == id; });
}

void PlanDecider::NumberStates() {
  state_of_rank_.clear();
  lowest_ranks_.clear();
  std::map<Digest128, uint32_t> numbers;
  for (size_t rank = 0; rank < announced_.size(); ++rank) {
    // Many in a row have the same.
    if (rank > 0 && announced_[rank].digest == announced_[rank - 1].digest) {
      state_of_rank_.push_back(state_of_rank_.back());
      continue;
    }
    const auto [state, is_new] = numbers.try_emplace(
        announced_[rank].digest, static_cast<uint32_t>(numbers.size()));
    if (is_new) lowest_ranks_.push_back(rank);
    state_of_rank_.push_back(state->second);
  }
}

StatusOr<std::string> PlanDecider::JoinStates(const Messages& states) {
  JoinedStates joined{
      .id = derived_id_, .spec_of_rank = state_of_rank_, .options = options_};
  size_t nbytes = 0;
  for (const size_t rank : lowest_ranks_) nbytes += states[rank].size();
  if (nbytes > kMostStateNbytes) {
    NoteNone();
    return SerializeJoined(std::nullopt);
  }
  std::vector<StateSpec> specs;
  for (const size_t rank : lowest_ranks_) {
    StatusOr<StateSpec> spec =
        ParseStateMessage(states[rank], announced_[rank].digest);
    if (!spec.ok()) return FailureOf(rank, spec.status());
    specs.push_back(*std::move(spec));
    joined.states.push_back(states[rank]);
  }
  DCP_ASSIGN_OR_RETURN(const bool is_closed, Derive(std::move(specs)));
  if (!is_closed) return SerializeJoined(std::nullopt);
  return SerializeJoined(joined);
}

StatusOr<bool> PlanDecider::Derive(std::vector<StateSpec> specs) {
  if (agreed_ != nullptr) return true;  // it is remembered
  auto derived = DerivePlan({.specs = std::move(specs),
                             .spec_of_rank = state_of_rank_,
                             .options = options_});
  if (derived.status().code() == absl::StatusCode::kUnimplemented ||
      (derived.ok() && gathered_ &&
       HasKeyInBoth(**derived, gathered_->global.metadata))) {
    NoteNone();
    return false;
  }
  DCP_RETURN_IF_ERROR(derived.status());
  AgreedPlan agreed{.id = id_, .derived = *std::move(derived)};
  if (gathered_) {
    agreed.objects =
        std::make_shared<const GlobalPlan>(std::move(gathered_->global));
  }
  agreed_ = std::make_shared<const AgreedPlan>(std::move(agreed));
  return true;
}

void PlanDecider::NoteNone() {
  agreed_ = std::make_shared<const AgreedPlan>(AgreedPlan{.id = id_});
}

StatusOr<PlanDecider::Messages> PlanDecider::AnswerDerived() {
  DCP_ASSIGN_OR_RETURN(Messages notes, keeper_.Adopt(*agreed_, notes_));
  Messages replies;
  for (size_t rank = 0; rank < notes.size(); ++rank) {
    PlanReply reply = TakeDerived{.id = id_, .notes = notes[rank]};
    if (gathered_) {
      reply = TakeBeside{.id = id_,
                         .tensors = derived_id_,
                         .share = SerializePlanShare(gathered_->shares[rank]),
                         .notes = notes[rank]};
    }
    replies.push_back(SerializeReply(reply));
  }
  return replies;
}

StatusOr<PlanDecider::Messages> PlanDecider::AnswerPlans(Messages messages) {
  for (size_t rank = 0; rank < messages.size(); ++rank) {
    if (plans_[rank].empty()) plans_[rank] = std::move(messages[rank]);
  }
  return Shares();
}

StatusOr<PlanDecider::Messages> PlanDecider::Shares() {
  DCP_ASSIGN_OR_RETURN(PlanKeeper::Decision decision,
                       keeper_.Plan(plans_, notes_));
  Messages replies;
  for (size_t rank = 0; rank < decision.shares.size(); ++rank) {
    replies.push_back(SerializeReply(
        TakeShare{.share = SerializePlanShare(decision.shares[rank]),
                  .notes = std::move(decision.notes[rank])}));
  }
  return replies;
}

}  // namespace dcp
