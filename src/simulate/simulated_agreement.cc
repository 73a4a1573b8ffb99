#include "simulate/simulated_agreement.h"

#include <memory>
#include <span>
#include <string>
#include <utility>
#include <vector>

#include "checkpoint/plan_agreement.h"
#include "checkpoint/plan_decider.h"
#include "checkpoint/plan_keeper.h"
#include "checkpoint/planning_messages.h"
#include "checkpoint/rank_exchange.h"
#include "dcp/plan_cache.h"
#include "simulate/cpu_stopwatch.h"
#include "simulate/simulated_transport.h"

namespace dcp {
namespace {

/// Keeps the name of the plan. There is no storage, so there are no notes.
class NameKeeper final : public PlanKeeper {
 public:
  const Digest128& name() const { return name_; }

  StatusOr<Decision> Plan(std::span<std::string> messages,
                          std::span<const std::string> /*notes*/) override {
    return Unimplemented("the " + std::to_string(messages.size()) +
                         " ranks would send their plans, as their states have "
                         "none in closed form or are too many");
  }
  StatusOr<std::vector<std::string>> Adopt(
      const AgreedPlan& agreed, std::span<const std::string> notes) override {
    name_ = agreed.id;
    return std::vector<std::string>(notes.size());
  }

 private:
  Digest128 name_;
};

/// What the ranks but the coordinator send. They have no objects.
class OtherRanks {
 public:
  explicit OtherRanks(const SimulatedJob& job)
      : job_(job),
        sends_parts_(HasTooManyStates(job.specs.size(),
                                      static_cast<size_t>(job.ranks()))) {
    for (const StateSpec& spec : job.specs) {
      states_.push_back(StateMessage(spec, {}));
    }
  }

  /// Before a save of ranks that remember the plan `held`.
  void MakeOffers(const Digest128& held) {
    offers_.clear();
    for (const std::string& state : states_) {
      offers_.push_back(SealMessage(SerializeOffer(
          {.state = AnnouncedState{.digest = DigestOf(state), .held = held}})));
    }
  }
  /// An offer; if there is more, then the state of those who are the first to
  /// have it; then that they have planned. Or the offer, and what is left of
  /// too many states without objects, which is all of them.
  std::string MessageOf(int round, size_t rank) const {
    const uint32_t state = job_.spec_of_rank[rank];
    if (round == 0) return offers_[state];
    if (sends_parts_) {
      return SealMessage(SerializeParts({.tensors = DigestOf(states_[state])}));
    }
    const bool is_first = state != job_.spec_of_rank[rank - 1];
    return SealMessage(round == 1 && is_first ? states_[state] : "");
  }

 private:
  const SimulatedJob& job_;
  const bool sends_parts_;
  std::vector<std::string> states_;  // by spec
  std::vector<std::string> offers_;
};

StatusOr<SimulatedAgreement> Agree(const SimulatedJob& job,
                                   const OtherRanks& others,
                                   const SaveOptions& options,
                                   NameKeeper* keeper) {
  SimulatedTransport transport(static_cast<int>(job.ranks()));
  transport.SetMessages([&](int round, int rank) {
    return others.MessageOf(round, static_cast<size_t>(rank));
  });
  PlanAgreement::Proposal mine{.spec = job.specs[0]};
  CpuStopwatch watch;
  PlanAgreement agreement(transport, *keeper, options);
  const Status reached = agreement.Reach(std::move(mine));
  if (const auto failures = GetRankFailures(reached)) {
    return failures->by_rank.begin()->second;
  }
  DCP_RETURN_IF_ERROR(reached);
  DCP_RETURN_IF_ERROR(agreement.TakePart().status());
  return SimulatedAgreement{
      .traffic = transport.traffic(),
      .coordinator_seconds = watch.Lap() - transport.gather_seconds()};
}

}  // namespace

StatusOr<SimulatedAgreements> SimulateAgreements(const SimulatedJob& job) {
  const SaveOptions options{.plan_cache = std::make_shared<PlanCache>()};
  OtherRanks others(job);
  NameKeeper keeper;
  SimulatedAgreements result;
  others.MakeOffers({});
  DCP_ASSIGN_OR_RETURN(result.first_save, Agree(job, others, options, &keeper));
  others.MakeOffers(keeper.name());
  DCP_ASSIGN_OR_RETURN(result.unchanged_save,
                       Agree(job, others, options, &keeper));
  return result;
}

}  // namespace dcp
