#include <algorithm>
#include <cmath>
#include <map>
#include <string>
#include <utility>
#include <vector>

#include "base/wire.h"
#include "plan/closed_form_plan.h"
#include "plan/plan_wire.h"
#include "simulate/cpu_stopwatch.h"
#include "simulate/metadata_sizer.h"
#include "simulate/plan_simulation.h"
#include "simulate/simulated_transport.h"

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

/// What ranks of each spec say first: the digests of their state, and of that
/// of the plan that they remember.
std::vector<std::string> OffersOf(const SimulatedJob& job) {
  std::vector<std::string> offers;
  offers.reserve(job.specs.size());
  for (const StateSpec& spec : job.specs) {
    WireWriter out;
    PutDigest(DigestOf(spec), &out);
    PutDigest(Digest128(), &out);
    offers.push_back(std::move(out).Take());
  }
  return offers;
}

/// As ranks send them, by number.
std::vector<std::string> SerializedSpecs(const SimulatedJob& job) {
  std::vector<std::string> specs;
  specs.reserve(job.specs.size());
  for (const StateSpec& spec : job.specs) {
    specs.push_back(SerializeStateSpec(spec));
  }
  return specs;
}

/// What ranks of one spec have in common, of `by_spec`.
std::string Of(const std::vector<std::string>& by_spec, const SimulatedJob& job,
               int rank) {
  return by_spec[job.spec_of_rank[static_cast<size_t>(rank)]];
}

/// Every rank's spec, as runs of ranks of one: their number and its own.
void PutSpecNumbers(const std::vector<uint32_t>& spec_of_rank,
                    WireWriter* out) {
  for (size_t begin = 0, end = 0; begin < spec_of_rank.size(); begin = end) {
    while (end < spec_of_rank.size() &&
           spec_of_rank[end] == spec_of_rank[begin]) {
      ++end;
    }
    out->PutVarint(end - begin);
    out->PutVarint(spec_of_rank[begin]);
  }
}

/// A reply of a byte to each rank.
Status Reply(SimulatedTransport* transport) {
  const std::vector<std::string> replies(
      static_cast<size_t>(transport->world_size()), std::string(1, '\1'));
  return transport->Scatter(replies).status();
}

/// Has all ranks make their offers, and gives them replies. Returns the number
/// of each rank's state.
StatusOr<std::vector<uint32_t>> ExchangeOffers(const SimulatedJob& job,
                                               SimulatedTransport* transport,
                                               double* seconds) {
  const std::vector<std::string> offers = OffersOf(job);
  transport->SetMessages([&](int rank) { return Of(offers, job, rank); });
  DCP_ASSIGN_OR_RETURN(const std::vector<std::string> gathered,
                       transport->Gather(Of(offers, job, 0)));
  CpuStopwatch watch;
  std::map<std::string, uint32_t> numbers;
  std::vector<uint32_t> spec_of_rank;
  spec_of_rank.reserve(gathered.size());
  for (const std::string& offer : gathered) {
    const auto number = static_cast<uint32_t>(numbers.size());
    spec_of_rank.push_back(numbers.emplace(offer, number).first->second);
  }
  *seconds += watch.Lap();
  DCP_RETURN_IF_ERROR(Reply(transport));
  return spec_of_rank;
}

/// Has the lowest rank of each state send it, and all ranks get all of them and
/// say that they have planned.
Status ExchangeStates(const SimulatedJob& job,
                      const std::vector<uint32_t>& spec_of_rank,
                      SimulatedTransport* transport, double* seconds) {
  const std::vector<std::string> specs = SerializedSpecs(job);
  uint32_t known = 0;
  transport->SetMessages([&](int rank) {
    const uint32_t number = spec_of_rank[static_cast<size_t>(rank)];
    if (number <= known) return std::string();
    known = number;
    return Of(specs, job, rank);
  });
  DCP_ASSIGN_OR_RETURN(const std::vector<std::string> sent,
                       transport->Gather(Of(specs, job, 0)));
  CpuStopwatch watch;
  WireWriter out;
  for (const std::string& spec : sent) {
    if (!spec.empty()) out.PutString(spec);
  }
  PutSpecNumbers(spec_of_rank, &out);
  *seconds += watch.Lap();
  DCP_RETURN_IF_ERROR(transport->Broadcast(out.data()).status());
  transport->SetMessages([](int) { return std::string(); });
  DCP_RETURN_IF_ERROR(transport->Gather("").status());
  return Reply(transport);
}

/// Fills the traffic, and the coordinator's step.
Status Exchange(const SimulatedJob& job, PlanSimulation* result) {
  SimulatedTransport transport(static_cast<int>(job.ranks()));
  double seconds = 0;
  DCP_ASSIGN_OR_RETURN(const std::vector<uint32_t> spec_of_rank,
                       ExchangeOffers(job, &transport, &seconds));
  result->unchanged_save = transport.traffic();
  if (job.specs.size() > 1) {
    DCP_RETURN_IF_ERROR(
        ExchangeStates(job, spec_of_rank, &transport, &seconds));
  }
  result->first_save = transport.traffic();
  result->coordinator_steps = {
      {.name = "tells the states apart", .seconds = seconds}};
  return absl::OkStatus();
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
  DCP_RETURN_IF_ERROR(Exchange(job, result));
  const StateSpec& spec = job.specs.front();
  const double digest = MedianSeconds([&] { (void)DigestOf(spec); });
  const double make = MedianSeconds([&] {
    (void)ClosedFormPlan::Make(job.specs, job.spec_of_rank, {}).ok();
  });
  double shares = 0;
  DCP_ASSIGN_OR_RETURN(result->outcome, PlanShares(job, sample, plan, &shares));
  result->rank_steps.push_back(
      {.name = "digest of its state", .seconds = digest});
  if (job.specs.size() > 1) {
    const std::vector<std::string> specs = SerializedSpecs(job);
    const double read = MedianSeconds([&] {
      for (const std::string& bytes : specs) (void)ParseStateSpec(bytes).ok();
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
