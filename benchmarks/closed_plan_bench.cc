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
#include <numeric>
#include <string>
#include <utility>
#include <vector>

#include "llama_shapes.h"
#include "plan/closed_form_plan.h"

namespace dcp::benchmarks {
namespace {

constexpr int64_t kTensorParallel = 8;
constexpr int64_t kReplicas = 16;
constexpr int64_t kStages = 16;
constexpr int64_t kSamples = 101;
constexpr int64_t kMostForMetadata = 8192;

struct Job {
  std::vector<StateSpec> specs;
  std::vector<uint32_t> spec_of_rank;
};

DeviceMesh MeshOf(Dims sizes, int64_t first) {
  DeviceMesh mesh{.sizes = std::move(sizes)};
  mesh.ranks.resize(static_cast<size_t>(Numel(mesh.sizes)));
  std::iota(mesh.ranks.begin(), mesh.ranks.end(), static_cast<uint32_t>(first));
  return mesh;
}

/// What tensor parallelism does, and FSDP2 before it on the mesh.
std::vector<Placement> OverTensorParallel(const Parameter& parameter) {
  const std::string& fqn = parameter.fqn;
  if (parameter.shape.size() == 1) {
    return {Placement::Shard(0), Placement::Replicate()};
  }
  if (fqn.ends_with("wo.weight") || fqn.ends_with("w2.weight")) {
    return {Placement::Shard(0), Placement::Shard(1)};
  }
  return {Placement::StridedShard(0, kTensorParallel), Placement::Shard(0)};
}

void AddTensor(const std::string& fqn, const TensorLayout& layout,
               StateSpec* spec) {
  auto& layouts = spec->layouts;
  const auto found = std::find(layouts.begin(), layouts.end(), layout);
  const auto number = static_cast<uint32_t>(found - layouts.begin());
  if (found == layouts.end()) layouts.push_back(layout);
  spec->entries.push_back(
      {.fqn = fqn, .value = LaidOutTensor{.layout = number}});
}

void AddParameter(const Parameter& parameter, std::vector<Placement> placements,
                  StateSpec* spec) {
  const TensorLayout layout{.global_size = parameter.shape,
                            .placements = std::move(placements)};
  const std::string state = "optim.state." + parameter.fqn;
  AddTensor("model." + parameter.fqn, layout, spec);
  AddTensor(state + ".exp_avg", layout, spec);
  AddTensor(state + ".exp_avg_sq", layout, spec);
  spec->entries.push_back(
      {.fqn = state + ".step", .value = WholeTensor{.nbytes = 4}});
}

void AddObjects(StateSpec* spec) {
  for (int i = 0; i < 12; ++i) {
    spec->entries.push_back({.fqn = "optim.param_groups.0." + std::to_string(i),
                             .value = StateObject{.nbytes = 1261}});
  }
}

/// As a planner flattens {"model": {...}, "optim": {...}}.
void AddPaths(StateSpec* spec) {
  spec->planner_data.emplace();
  for (const StateEntry& entry : spec->entries) {
    const size_t dot = entry.fqn.find('.');
    spec->planner_data->emplace(
        entry.fqn,
        ObjectPath{entry.fqn.substr(0, dot), entry.fqn.substr(dot + 1)});
  }
}

Job Flat(int64_t ranks) {
  Job job{.specs = {{.meshes = {MeshOf({ranks}, 0)}}}};
  job.spec_of_rank.resize(static_cast<size_t>(ranks));
  for (const Parameter& parameter : Llama70B()) {
    AddParameter(parameter, {Placement::Shard(0)}, &job.specs[0]);
  }
  AddObjects(&job.specs[0]);
  AddPaths(&job.specs[0]);
  return job;
}

Job Hybrid(int64_t ranks) {
  const int64_t shards = ranks / kReplicas / kTensorParallel;
  Job job{
      .specs = {{.meshes = {MeshOf({kReplicas, shards, kTensorParallel}, 0)}}}};
  job.spec_of_rank.resize(static_cast<size_t>(ranks));
  for (const Parameter& parameter : Llama70B()) {
    std::vector<Placement> placements = OverTensorParallel(parameter);
    placements.insert(placements.begin(), Placement::Replicate());
    AddParameter(parameter, std::move(placements), &job.specs[0]);
  }
  AddObjects(&job.specs[0]);
  AddPaths(&job.specs[0]);
  return job;
}

Job Pipeline(int64_t ranks) {
  const int64_t each = ranks / kStages;
  Job job;
  job.specs.resize(kStages);
  for (int64_t stage = 0; stage < kStages; ++stage) {
    job.specs[static_cast<size_t>(stage)].meshes = {
        MeshOf({each / kTensorParallel, kTensorParallel}, stage * each)};
  }
  for (int64_t rank = 0; rank < ranks; ++rank) {
    job.spec_of_rank.push_back(static_cast<uint32_t>(rank / each));
  }
  const std::vector<Parameter> parameters = Llama70B();
  for (size_t i = 0; i < parameters.size(); ++i) {
    AddParameter(parameters[i], OverTensorParallel(parameters[i]),
                 &job.specs[i * kStages / parameters.size()]);
  }
  for (StateSpec& spec : job.specs) {
    AddObjects(&spec);
    AddPaths(&spec);
  }
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

void PrintSpecs(const Job& job) {
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

Status Measure(const char* name, const Job& job) {
  const auto ranks = static_cast<int64_t>(job.spec_of_rank.size());
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
  DCP_RETURN_IF_ERROR(Measure("FSDP, flat", Flat(ranks)));
  DCP_RETURN_IF_ERROR(Measure("HSDP over TP", Hybrid(ranks)));
  return Measure("FSDP over TP, in stages", Pipeline(ranks));
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
