#include <algorithm>
#include <cmath>
#include <string>
#include <vector>

#include "checkpoint/planning_messages.h"
#include "plan/closed_form_plan.h"
#include "simulate/cpu_stopwatch.h"
#include "simulate/metadata_sizer.h"
#include "simulate/plan_simulation.h"
#include "simulate/simulated_agreement.h"

namespace dcp {
namespace {

constexpr int kRepeats = 9;

/// Of kRepeats calls.
template <typename Call>
double MedianSeconds(Call call) {
  std::vector<double> seconds;
  for (int i = 0; i < kRepeats; ++i) {
    CpuStopwatch watch;
    call();
    seconds.push_back(watch.Lap());
  }
  std::nth_element(seconds.begin(), seconds.begin() + kRepeats / 2,
                   seconds.end());
  return seconds[kRepeats / 2];
}

/// As ranks send them, by number.
std::vector<std::string> StateMessages(const SimulatedJob& job) {
  std::vector<std::string> states;
  states.reserve(job.specs.size());
  for (const StateSpec& spec : job.specs) {
    states.push_back(StateMessage(spec, {}));
  }
  return states;
}

/// Has the ranks of the sample derive what they write.
StatusOr<PlanOutcome> PlanShares(const SimulatedJob& job,
                                 const RankSample& sample,
                                 const ClosedFormPlan& plan, double* seconds) {
  MetadataSizer sizer(job, sample);
  int64_t items = 0;
  int64_t nbytes = 0;
  PlanOutcome outcome;
  for (int64_t i = 0; i < sample.size(); ++i) {
    const uint32_t rank = sample.RankAt(i);
    CpuStopwatch watch;
    const SavePlan share = plan.ShareOf(rank);
    *seconds += watch.Lap();
    int64_t load = 0;
    for (const WriteItem& item : share.items) load += item.nbytes;
    items += static_cast<int64_t>(share.items.size());
    nbytes += load;
    outcome.max_load_nbytes = std::max(outcome.max_load_nbytes, load);
    outcome.load_nbytes.push_back(load);
    if (sizer.Takes(i)) sizer.Add(rank, share);
  }
  outcome.items = std::llround(static_cast<double>(items) * sample.scale());
  outcome.mean_load_nbytes = nbytes / sample.size();
  outcome.metadata_ranks = sizer.ranks_taken();
  DCP_ASSIGN_OR_RETURN(outcome.metadata_nbytes, sizer.NbytesOf(outcome.items));
  return outcome;
}

}  // namespace

Status SimulateClosedForm(const SimulatedJob& job, const RankSample& sample,
                          PlanSimulation* result) {
  DCP_ASSIGN_OR_RETURN(const ClosedFormPlan plan,
                       ClosedFormPlan::Make(job.specs, job.spec_of_rank, {}));
  DCP_ASSIGN_OR_RETURN(const SimulatedAgreements agreements,
                       SimulateAgreements(job));
  result->first_save = agreements.first_save.traffic;
  result->unchanged_save = agreements.unchanged_save.traffic;
  result->coordinator_steps = {
      {.name = "agrees on the first save",
       .seconds = agreements.first_save.coordinator_seconds},
      {.name = "agrees on an unchanged one",
       .seconds = agreements.unchanged_save.coordinator_seconds}};
  const StateSpec& spec = job.specs.front();
  const double digest =
      MedianSeconds([&] { (void)DigestOf(StateMessage(spec, {})); });
  const double make = MedianSeconds([&] {
    (void)ClosedFormPlan::Make(job.specs, job.spec_of_rank, {}).ok();
  });
  double shares = 0;
  DCP_ASSIGN_OR_RETURN(result->outcome, PlanShares(job, sample, plan, &shares));
  result->rank_steps.push_back(
      {.name = "digest of its state", .seconds = digest});
  if (job.specs.size() > 1) {
    const std::vector<std::string> states = StateMessages(job);
    const double read = MedianSeconds([&] {
      for (const std::string& state : states) {
        (void)ParseStateMessage(state, DigestOf(state)).ok();
      }
    });
    result->rank_steps.push_back(
        {.name = "reads the states of all", .seconds = read});
  }
  result->rank_steps.push_back({.name = "who writes what", .seconds = make});
  result->rank_steps.push_back(
      {.name = "its own share",
       .seconds = shares / static_cast<double>(sample.size())});
  return absl::OkStatus();
}

}  // namespace dcp
