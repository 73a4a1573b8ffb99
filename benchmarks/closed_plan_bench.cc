// dcp_closed_plan_bench: what it takes a rank to plan its share by itself.
//
// Question: how long does one of N ranks need to derive what it writes of a
// model with AdamW's state, how large is what ranks exchange, and how evenly
// are bytes shared?
//
// Method: the shapes of Llama 3 70B: 723 parameters, two moments of each and a
// step count that all ranks hold, and 12 objects; sharded flat by FSDP2, by
// HSDP over tensor parallelism (16 replicas, strided shards, norms that tensor
// parallelism replicates), and in 16 pipeline stages. One thread; the median
// over ranks that are evenly spaced, each of which does all of it. Balance is
// that of as many ranks, spaced by an odd number; where few rows are cut by
// many ranks it is torch's layout that leaves no choice.
//
//   dcp_closed_plan_bench [RANKS=131072]

#include <algorithm>
#include <chrono>
#include <cstdio>
#include <cstdlib>
#include <functional>
#include <string>
#include <variant>
#include <vector>

#include "plan/closed_form_plan.h"
#include "simulate/model_shapes.h"
#include "simulate/simulated_job.h"

namespace dcp::benchmarks {
namespace {

constexpr int64_t kTensorParallel = 8;
constexpr int64_t kReplicas = 16;
constexpr int64_t kStages = 16;
constexpr int64_t kSamples = 101;
constexpr int64_t kMostForMetadata = 8192;

/// As the optimizer has them, on every rank.
void AddObjects(StateSpec* spec) {
  for (int i = 0; i < 12; ++i) {
    spec->entries.push_back({.fqn = "optim.param_groups.0." + std::to_string(i),
                             .value = StateObject{.nbytes = 1261}});
  }
}

StatusOr<SimulatedJob> JobOf(const ParallelDegrees& degrees) {
  DCP_ASSIGN_OR_RETURN(const ModelShape model, ModelShapeOf("llama3-70b"));
  DCP_ASSIGN_OR_RETURN(SimulatedJob job, MakeSimulatedJob(model, degrees));
  for (StateSpec& spec : job.specs) AddObjects(&spec);
  return job;
}

/// The median of `samples` calls, in milliseconds; call `i` is given `i`.
double MedianMs(int64_t samples, const std::function<void(int64_t)>& call) {
  std::vector<double> ms;
  for (int64_t i = 0; i < samples; ++i) {
    const auto begin = std::chrono::steady_clock::now();
    call(i);
    ms.push_back(std::chrono::duration<double, std::milli>(
                     std::chrono::steady_clock::now() - begin)
                     .count());
  }
  std::nth_element(ms.begin(), ms.begin() + samples / 2, ms.end());
  return ms[static_cast<size_t>(samples / 2)];
}

void PrintBalance(const ClosedFormPlan& plan, int64_t ranks) {
  int64_t most = 0;
  int64_t total = 0;
  const int64_t step = ranks / kSamples | 1;
  for (int64_t i = 0; i < kSamples; ++i) {
    int64_t load = 0;
    const SavePlan share =
        plan.ShareOf(static_cast<uint32_t>(i * step % ranks));
    for (const WriteItem& item : share.items) load += item.nbytes;
    most = std::max(most, load);
    total += load;
  }
  const double mean = static_cast<double>(total) / kSamples;
  std::printf("  %-34s %9.3f (mean %.3f MB)\n", "balance, max/mean",
              static_cast<double>(most) / mean, mean / 1e6);
}

/// Of ranks whose chunks fit the memory of this machine.
void PrintMetadata(const ClosedFormPlan& plan, int64_t ranks) {
  if (ranks > kMostForMetadata) return;
  size_t chunks = 0;
  const double ms = MedianMs(1, [&](int64_t) {
    const Metadata metadata = plan.MakeMetadata();
    for (const auto& [fqn, entry] : metadata.entries()) {
      const auto* tensor = std::get_if<TensorStorageMetadata>(&entry);
      if (tensor != nullptr) chunks += tensor->chunks.size();
    }
  });
  std::printf("  %-34s %9.3f ms, %zu chunks\n", "coordinator: metadata", ms,
              chunks);
}

void PrintSpecs(const SimulatedJob& job) {
  size_t nbytes = 0;
  size_t entries = 0;
  std::string bytes;
  for (const StateSpec& spec : job.specs) {
    bytes = SerializeStateSpec(spec);
    nbytes += bytes.size();
    entries += spec.entries.size();
  }
  std::printf("  %zu specs of %zu entries in all, %zu bytes\n",
              job.specs.size(), entries, nbytes);
  const StateSpec& spec = job.specs.back();
  std::printf("  %-34s %9.3f ms\n", "one spec: digest",
              MedianMs(kSamples, [&](int64_t) { (void)DigestOf(spec); }));
  std::printf(
      "  %-34s %9.3f ms\n", "one spec: read",
      MedianMs(kSamples, [&](int64_t) { (void)ParseStateSpec(bytes).ok(); }));
}

Status Measure(const char* name, const ParallelDegrees& degrees) {
  DCP_ASSIGN_OR_RETURN(const SimulatedJob job, JobOf(degrees));
  const int64_t ranks = job.ranks();
  std::printf("%s, %lld ranks\n", name, static_cast<long long>(ranks));
  PrintSpecs(job);
  DCP_ASSIGN_OR_RETURN(const ClosedFormPlan plan,
                       ClosedFormPlan::Make(job.specs, job.spec_of_rank, {}));
  const double make = MedianMs(kSamples, [&](int64_t) {
    (void)ClosedFormPlan::Make(job.specs, job.spec_of_rank, {}).ok();
  });
  size_t items = 0;
  const double share = MedianMs(kSamples, [&](int64_t i) {
    const auto rank = static_cast<uint32_t>(i * (ranks - 1) / (kSamples - 1));
    items += plan.ShareOf(rank).items.size();
  });
  std::printf("  %-34s %9.3f ms\n", "a rank: who writes what", make);
  std::printf("  %-34s %9.3f ms, %zu items\n", "a rank: its share", share,
              items / kSamples);
  PrintBalance(plan, ranks);
  PrintMetadata(plan, ranks);
  return absl::OkStatus();
}

Status Run(int64_t ranks) {
  DCP_RETURN_IF_ERROR(Measure("FSDP, flat", {.dp = ranks}));
  DCP_RETURN_IF_ERROR(
      Measure("HSDP over TP", {.dp_replicate = kReplicas,
                               .dp = ranks / kReplicas / kTensorParallel,
                               .tp = kTensorParallel}));
  return Measure("FSDP over TP, in stages",
                 {.dp = ranks / kStages / kTensorParallel,
                  .tp = kTensorParallel,
                  .pp = kStages});
}

}  // namespace
}  // namespace dcp::benchmarks

int main(int argc, char** argv) {
  const int64_t ranks = argc > 1 ? std::atoll(argv[1]) : 131072;
  if (ranks < 128 || ranks > (1 << 24) || ranks % 128 != 0) {
    std::fprintf(stderr,
                 "usage: dcp_closed_plan_bench [RANKS=131072], a multiple of "
                 "128\n");
    return 2;
  }
  const dcp::Status status = dcp::benchmarks::Run(ranks);
  if (status.ok()) return 0;
  std::fprintf(stderr, "dcp_closed_plan_bench: %s\n",
               std::string(dcp::Message(status)).c_str());
  return 1;
}
