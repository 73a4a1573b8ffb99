// dcp_plan_bench: what it takes to plan a save of many ranks.
//
// Question: how long are the steps of planning, and how much memory do they
// take, when N ranks save a model with AdamW's state, sharded by FSDP2?
//
// Method: the shapes of Llama 3 70B: 723 parameters, two moments of each and a
// step count that all ranks hold; a rank without rows of a tensor lists none of
// them at its end, as torch does, so each has 2,892 items, and of every key its
// path in the state dict, as Python's saves have them. With "own" each rank has
// a key of its own beside them, as runs with per_rank_states do, so that no two
// ranks' keys are all the same. All ranks' messages are made first, each with
// its keys, as ranks send them; then one thread does
// what the coordinator does, step by step: read the messages and make the
// global plan in columns, write the answers. Beside it, up to 1,024 ranks, the
// same with items; there, too, `.metadata` is written with the place of every
// item and read back, and indexed metadata of 16 times as many ranks are
// written and asked. Seconds are the processor's. One run; repeat the program
// to see the spread.
//
//   dcp_plan_bench [RANKS=512] [REPLICAS=1] [own]
//
// With REPLICAS the model is sharded over RANKS / REPLICAS ranks (HSDP).

#include <algorithm>
#include <cstdio>
#include <cstdlib>
#include <fstream>
#include <string>
#include <string_view>
#include <utility>
#include <variant>
#include <vector>

#include "dcp/plan.h"
#include "index_bench.h"
#include "llama_shapes.h"
#include "metadata_bench.h"
#include "plan/column_plan.h"
#include "plan/plan_message.h"
#include "plan/plan_share.h"
#include "plan/plan_wire.h"
#include "stopwatch.h"

namespace dcp::benchmarks {
namespace {

// With items, more take more memory than a machine has.
constexpr int64_t kMostRanksWithItems = 1024;

PlannerPaths& PathsOf(SavePlan* plan) {
  if (!plan->planner_data) plan->planner_data.emplace();
  return *plan->planner_data;
}

/// `path` is of the state dict's keys and has no index.
void AddItem(const ObjectPath& path, const Dims& shape, SavePlan* plan) {
  std::string fqn;
  for (const PathItem& step : path) {
    if (!fqn.empty()) fqn += '.';
    fqn += std::get<std::string>(step);
  }
  PathsOf(plan).emplace(fqn, path);
  plan->items.push_back(
      {.fqn = std::move(fqn),
       .type = shape.empty() ? WriteItemType::kTensor : WriteItemType::kShard,
       .chunk = WholeBox(shape),
       .global_size = shape,
       .properties = {.dtype = DType::kFloat32},
       .nbytes = Numel(shape) * 4,
       .source = static_cast<int64_t>(plan->items.size())});
}

/// What one rank holds that is alone.
SavePlan WholePlan() {
  SavePlan plan;
  for (const auto& [fqn, shape] : Llama70B()) {
    AddItem({"model", fqn}, shape, &plan);
    AddItem({"optim", "state", fqn, "exp_avg"}, shape, &plan);
    AddItem({"optim", "state", fqn, "exp_avg_sq"}, shape, &plan);
    AddItem({"optim", "state", fqn, "step"}, {}, &plan);
  }
  return plan;
}

struct Job {
  int64_t ranks = 512;
  int64_t replicas = 1;  ///< of each shard, as HSDP has them
  bool has_own_keys = false;
};

/// Makes `plan`, of any rank, have torch.chunk's rows of every tensor.
void PutShards(int64_t rank, const Job& job, SavePlan* plan) {
  const int64_t shards = job.ranks / job.replicas;
  const int64_t shard = rank % shards;
  for (WriteItem& item : plan->items) {
    if (item.global_size.empty()) continue;
    const int64_t all = item.global_size[0];
    const int64_t rows = (all + shards - 1) / shards;
    item.chunk.offsets[0] = std::min(rows * shard, all);
    item.chunk.sizes[0] =
        std::min(rows * (shard + 1), all) - item.chunk.offsets[0];
    item.nbytes = item.chunk.numel() * 4;
  }
}

/// Puts the rank's own object at the end of `plan`, of any rank, if there is
/// one.
void PutOwnKey(int64_t rank, const Job& job, SavePlan* plan) {
  if (!job.has_own_keys) return;
  if (plan->items.back().type == WriteItemType::kByteIo) {
    PathsOf(plan).erase(plan->items.back().fqn);
    plan->items.pop_back();
  }
  const std::string name =
      "rank_" + std::to_string(rank) + "_of_" + std::to_string(job.ranks);
  const std::string fqn = "data." + name;
  PathsOf(plan).emplace(fqn, ObjectPath{"data", name});
  plan->items.push_back({.fqn = fqn,
                         .type = WriteItemType::kByteIo,
                         .nbytes = 1000,
                         .source = static_cast<int64_t>(plan->items.size())});
}

/// Makes `plan`, of any rank, that of rank `rank`.
void MakePlanOf(int64_t rank, const Job& job, SavePlan* plan) {
  PutShards(rank, job, plan);
  PutOwnKey(rank, job, plan);
}

using Serialize = std::string (*)(const SavePlan&);

std::vector<std::string> MessagesOf(const Job& job, Serialize serialize) {
  SavePlan plan = WholePlan();
  std::vector<std::string> messages;
  for (int64_t rank = 0; rank < job.ranks; ++rank) {
    MakePlanOf(rank, job, &plan);
    messages.push_back(serialize(plan));
    messages.back().shrink_to_fit();
  }
  return messages;
}

double MegabytesOf(const std::vector<std::string>& messages) {
  double sum = 0;
  for (const std::string& message : messages) {
    sum += static_cast<double>(message.size());
  }
  return sum / 1e6;
}

/// getrusage(2) would count what the process had before its exec, too: the
/// memory of whoever started the program.
double PeakMebibytes() {
  std::ifstream status("/proc/self/status");
  double kibibytes = 0;
  for (std::string word; status >> word;) {
    if (word == "VmHWM:") status >> kibibytes;
  }
  return kibibytes / 1024;
}

void PrintState(const char* how, const Job& job, double megabytes) {
  std::printf(
      "%s: %lld ranks of %zu items, messages of %.1f MB, memory %.0f "
      "MiB\n",
      how, static_cast<long long>(job.ranks),
      WholePlan().items.size() + (job.has_own_keys ? 1 : 0), megabytes,
      PeakMebibytes());
}

Status PlanWithColumns(const Job& job) {
  Stopwatch watch;
  std::vector<std::string> messages = MessagesOf(job, SerializePlanMessage);
  const double megabytes = MegabytesOf(messages);
  PrintState("columns", job, megabytes);
  watch.Print("all ranks: messages of their plans");
  DCP_ASSIGN_OR_RETURN(PlanColumns columns, PlanColumns::Read(messages));
  watch.Print("coordinator: reads the messages", megabytes);
  DCP_ASSIGN_OR_RETURN(const ColumnPlan plan,
                       ColumnPlan::Make(std::move(columns), {}));
  watch.Print("coordinator: global plan");
  std::vector<std::string> answers;
  answers.reserve(plan.rank_count());
  for (size_t rank = 0; rank < plan.rank_count(); ++rank) {
    answers.push_back(SerializePlanShare(plan.ShareOf(rank)));
  }
  watch.Print("coordinator: writes the answers", MegabytesOf(answers));
  std::printf("%-44s %9.1f MB\n", "the answers", MegabytesOf(answers));
  std::printf("%-44s %9.0f MiB\n", "memory so far, peak", PeakMebibytes());
  SavePlan local = WholePlan();
  MakePlanOf(job.ranks - 1, job, &local);
  watch.Restart();
  DCP_ASSIGN_OR_RETURN(const PlanShare share, ParsePlanShare(answers.back()));
  DCP_RETURN_IF_ERROR(ApplyShare(share, std::move(local)).status());
  watch.Print("one rank: reads its answer");
  return absl::OkStatus();
}

Status PlanWithItems(const Job& job) {
  Stopwatch watch;
  std::vector<std::string> messages = MessagesOf(job, SerializeSavePlan);
  const double megabytes = MegabytesOf(messages);
  PrintState("items", job, megabytes);
  watch.Print("all ranks: messages of their plans");
  std::vector<SavePlan> plans;
  for (std::string& message : messages) {
    DCP_ASSIGN_OR_RETURN(SavePlan plan, ParseSavePlan(message));
    plans.push_back(std::move(plan));
    message = {};
  }
  watch.Print("coordinator: reads the messages", megabytes);
  DCP_ASSIGN_OR_RETURN(GlobalPlan global,
                       CreateGlobalSavePlan(std::move(plans), {}));
  watch.Print("coordinator: global plan");
  std::vector<std::string> answers;
  answers.reserve(global.plans.size());
  for (const SavePlan& plan : global.plans) {
    answers.push_back(SerializeSavePlan(plan));
  }
  watch.Print("coordinator: writes the answers", MegabytesOf(answers));
  std::printf("%-44s %9.1f MB\n", "the answers", MegabytesOf(answers));
  std::printf("%-44s %9.0f MiB\n", "memory so far, peak", PeakMebibytes());
  answers.clear();
  return MeasureMetadata(std::move(global));
}

Status Run(const Job& job) {
  DCP_RETURN_IF_ERROR(PlanWithColumns(job));
  if (job.ranks > kMostRanksWithItems) return absl::OkStatus();
  DCP_RETURN_IF_ERROR(PlanWithItems(job));
  return MeasureIndex(16 * job.ranks);
}

}  // namespace
}  // namespace dcp::benchmarks

int main(int argc, char** argv) {
  dcp::benchmarks::Job job;
  if (argc > 1) job.ranks = std::atoll(argv[1]);
  if (argc > 2) job.replicas = std::atoll(argv[2]);
  job.has_own_keys = argc > 3 && std::string_view(argv[3]) == "own";
  if (job.ranks < 1 || job.ranks > (1 << 20) || job.replicas < 1 ||
      job.ranks % job.replicas != 0 || (argc > 3 && !job.has_own_keys)) {
    std::fprintf(stderr,
                 "usage: dcp_plan_bench [RANKS=512] [REPLICAS=1] [own]\n");
    return 2;
  }
  const dcp::Status status = dcp::benchmarks::Run(job);
  if (status.ok()) return 0;
  std::fprintf(stderr, "dcp_plan_bench: %s\n",
               std::string(dcp::Message(status)).c_str());
  return 1;
}
