#include <algorithm>
#include <cmath>
#include <numeric>
#include <span>
#include <string>
#include <utility>
#include <vector>

#include "checkpoint/plan_agreement.h"
#include "checkpoint/plan_keeper.h"
#include "checkpoint/planning_messages.h"
#include "checkpoint/rank_exchange.h"
#include "plan/column_plan.h"
#include "plan/plan_message.h"
#include "plan/plan_share.h"
#include "simulate/cpu_stopwatch.h"
#include "simulate/metadata_sizer.h"
#include "simulate/plan_simulation.h"
#include "simulate/simulated_transport.h"

namespace dcp {
namespace {

/// The plans of a sample's ranks, as they send them.
class LocalPlanSender {
 public:
  LocalPlanSender(const SimulatedJob& job, const RankSample& sample)
      : sample_(sample), plans_(job) {}

  /// Of rank `i` of the sample, sealed.
  std::string MessageOf(int i) {
    const SavePlan& plan = PlanOf(i);
    CpuStopwatch watch;
    std::string message =
        SealMessage(SerializeOffer({.state = SerializePlanMessage(plan)}));
    seconds_ += watch.Lap();
    return message;
  }
  const SavePlan& PlanOf(int64_t i) { return plans_.Of(sample_.RankAt(i)); }
  /// What a rank but the first took for its message.
  double mean_seconds() const {
    return seconds_ /
           static_cast<double>(std::max<int64_t>(sample_.size() - 1, 1));
  }

 private:
  const RankSample& sample_;
  LocalPlans plans_;
  double seconds_ = 0;
};

/// What a job of more ranks sends: as much each.
PlanTraffic Scaled(const PlanTraffic& traffic, int64_t ranks,
                   const RankSample& sample) {
  if (sample.is_all()) return traffic;
  const double nbytes = static_cast<double>(traffic.nbytes) * sample.scale();
  // A gather and a scatter.
  return {.messages = 2 * (ranks - 1), .nbytes = std::llround(nbytes)};
}

int64_t CountItems(std::span<const PlanShare> shares) {
  size_t count = 0;
  for (const PlanShare& share : shares) {
    count += share.pieces.size();
    for (const ItemRun& run : share.whole) count += run.end - run.begin;
  }
  return static_cast<int64_t>(count);
}

/// Plans, and says how long it took.
class TimedKeeper final : public PlanKeeper {
 public:
  explicit TimedKeeper(const RankSample& sample) : sample_(sample) {}

  StatusOr<Decision> Plan(std::span<std::string> messages,
                          std::span<const std::string> notes) override {
    CpuStopwatch watch;
    DCP_ASSIGN_OR_RETURN(PlanColumns columns, PlanColumns::Read(messages));
    read_seconds_ = watch.Lap();
    // Of a sample the chunks do not cover their tensors.
    DCP_ASSIGN_OR_RETURN(
        const ColumnPlan plan,
        ColumnPlan::Make(std::move(columns),
                         {.require_full_coverage = sample_.is_all()}));
    for (size_t rank = 0; rank < plan.rank_count(); ++rank) {
      shares_.push_back(plan.ShareOf(rank));
    }
    plan_seconds_ = watch.Lap();
    loads_ = plan.loads();
    return Decision{.shares = shares_,
                    .notes = std::vector<std::string>(notes.size())};
  }
  StatusOr<std::vector<std::string>> Adopt(
      const AgreedPlan& /*agreed*/,
      std::span<const std::string> /*notes*/) override {
    return Internal("simulated ranks sent plans, and none was made of them");
  }
  double read_seconds() const { return read_seconds_; }
  double plan_seconds() const { return plan_seconds_; }
  const std::vector<PlanShare>& shares() const { return shares_; }
  const std::vector<int64_t>& loads() const { return loads_; }

 private:
  const RankSample& sample_;
  double read_seconds_ = 0;
  double plan_seconds_ = 0;
  std::vector<PlanShare> shares_;
  std::vector<int64_t> loads_;
};

StatusOr<PlanOutcome> OutcomeOf(const SimulatedJob& job,
                                const TimedKeeper& keeper,
                                LocalPlanSender* ranks) {
  const std::vector<PlanShare>& shares = keeper.shares();
  const std::vector<int64_t>& loads = keeper.loads();
  const RankSample all(job.ranks(), job.ranks());
  MetadataSizer sizer(job, all);
  for (int64_t rank = 0; rank < job.ranks(); ++rank) {
    if (!sizer.Takes(rank)) continue;
    DCP_ASSIGN_OR_RETURN(
        const SavePlan share,
        ApplyShare(shares[static_cast<size_t>(rank)], ranks->PlanOf(rank)));
    sizer.Add(static_cast<uint32_t>(rank), share);
  }
  PlanOutcome outcome{
      .items = CountItems(shares),
      .metadata_ranks = sizer.ranks_taken(),
      .mean_load_nbytes =
          std::accumulate(loads.begin(), loads.end(), int64_t{0}) / job.ranks(),
      .max_load_nbytes = *std::max_element(loads.begin(), loads.end()),
      .load_nbytes = loads};
  DCP_ASSIGN_OR_RETURN(outcome.metadata_nbytes, sizer.NbytesOf(outcome.items));
  return outcome;
}

/// Fills the traffic and the steps.
Status Agree(const SimulatedJob& job, const RankSample& sample,
             LocalPlanSender* ranks, TimedKeeper* keeper,
             PlanSimulation* result) {
  SimulatedTransport transport(static_cast<int>(sample.size()));
  transport.SetMessages(
      [&](int /*round*/, int rank) { return ranks->MessageOf(rank); });
  PlanAgreement::Proposal mine{.local = {.plan = ranks->PlanOf(0)}};
  const SaveOptions options;
  CpuStopwatch watch;
  PlanAgreement agreement(transport, *keeper, options);
  DCP_RETURN_IF_ERROR(agreement.Reach(std::move(mine)));
  const double others = watch.Lap() - transport.gather_seconds() -
                        keeper->read_seconds() - keeper->plan_seconds();
  result->first_save = Scaled(transport.traffic(), job.ranks(), sample);
  result->unchanged_save = result->first_save;
  result->rank_steps = {
      {.name = "its plan as a message", .seconds = ranks->mean_seconds()}};
  result->coordinator_steps = {
      {.name = "reads the plans",
       .seconds = keeper->read_seconds() * sample.scale()},
      {.name = "who writes what",
       .seconds = keeper->plan_seconds() * sample.scale()},
      {.name = "opens the messages and writes the answers",
       .seconds = others * sample.scale()}};
  return absl::OkStatus();
}

}  // namespace

Status SimulateGather(const SimulatedJob& job, const RankSample& sample,
                      PlanSimulation* result) {
  LocalPlanSender ranks(job, sample);
  TimedKeeper keeper(sample);
  DCP_RETURN_IF_ERROR(Agree(job, sample, &ranks, &keeper, result));
  if (!sample.is_all()) return absl::OkStatus();
  DCP_ASSIGN_OR_RETURN(result->outcome, OutcomeOf(job, keeper, &ranks));
  return absl::OkStatus();
}

}  // namespace dcp
