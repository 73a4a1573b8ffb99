#include <algorithm>
#include <cmath>
#include <numeric>
#include <span>
#include <string>
#include <utility>
#include <vector>

#include "plan/column_plan.h"
#include "plan/plan_message.h"
#include "plan/plan_share.h"
#include "simulate/cpu_stopwatch.h"
#include "simulate/metadata_sizer.h"
#include "simulate/plan_simulation.h"
#include "simulate/simulated_transport.h"

namespace dcp {
namespace {

/// The plans of a sample's ranks, as the coordinator gets them.
class Gathering {
 public:
  Gathering(const SimulatedJob& job, const RankSample& sample)
      : sample_(sample), plans_(job) {}

  StatusOr<std::vector<std::string>> Run(SimulatedTransport* transport) {
    transport->SetMessages([this](int i) { return MessageOf(i); });
    return transport->Gather(MessageOf(0));
  }
  const SavePlan& PlanOf(int64_t i) { return plans_.Of(sample_.RankAt(i)); }
  /// That all ranks took for their messages.
  double seconds() const { return seconds_; }

 private:
  std::string MessageOf(int i) {
    const SavePlan& plan = PlanOf(i);
    CpuStopwatch watch;
    std::string message = SerializePlanMessage(plan);
    seconds_ += watch.Lap();
    return message;
  }

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

StatusOr<PlanOutcome> OutcomeOf(const SimulatedJob& job,
                                std::span<const int64_t> loads,
                                std::span<const PlanShare> shares,
                                Gathering* ranks) {
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
      .max_load_nbytes = *std::max_element(loads.begin(), loads.end())};
  DCP_ASSIGN_OR_RETURN(outcome.metadata_nbytes, sizer.NbytesOf(outcome.items));
  return outcome;
}

}  // namespace

Status SimulateGather(const SimulatedJob& job, const RankSample& sample,
                      PlanSimulation* result) {
  SimulatedTransport transport(static_cast<int>(sample.size()));
  Gathering ranks(job, sample);
  DCP_ASSIGN_OR_RETURN(std::vector<std::string> messages,
                       ranks.Run(&transport));
  CpuStopwatch watch;
  const auto lap = [&] { return watch.Lap() * sample.scale(); };
  DCP_ASSIGN_OR_RETURN(PlanColumns columns, PlanColumns::Read(messages));
  const double read = lap();
  // Of a sample the chunks do not cover their tensors.
  DCP_ASSIGN_OR_RETURN(
      const ColumnPlan plan,
      ColumnPlan::Make(std::move(columns),
                       {.require_full_coverage = sample.is_all()}));
  const double make = lap();
  std::vector<PlanShare> shares;
  std::vector<std::string> answers;
  for (size_t rank = 0; rank < plan.rank_count(); ++rank) {
    shares.push_back(plan.ShareOf(rank));
    answers.push_back(SerializePlanShare(shares.back()));
  }
  const double write = lap();
  DCP_RETURN_IF_ERROR(transport.Scatter(answers).status());
  result->first_save = Scaled(transport.traffic(), job.ranks(), sample);
  result->unchanged_save = result->first_save;
  result->rank_steps = {
      {.name = "its plan as a message",
       .seconds = ranks.seconds() / static_cast<double>(sample.size())}};
  result->coordinator_steps = {
      {.name = "reads the plans", .seconds = read},
      {.name = "who writes what", .seconds = make},
      {.name = "writes the answers", .seconds = write}};
  if (!sample.is_all()) return absl::OkStatus();
  DCP_ASSIGN_OR_RETURN(result->outcome,
                       OutcomeOf(job, plan.loads(), shares, &ranks));
  return absl::OkStatus();
}

}  // namespace dcp
