// dcp_plan_bench: what it takes to plan a save of many ranks.
//
// Question: how long are the steps of planning, and how much memory do they
// take, when N ranks save a model with AdamW's state, sharded flat by FSDP2?
//
// Method: the shapes of Llama 3 70B: 723 parameters, two moments of each and a
// step count that all ranks hold. All ranks' messages are made first; then one
// thread does what the coordinator does, step by step: read the messages, make
// the global plan, write the answers, write `.metadata` (without the places of
// items, which the writers' results bring), read it back. One run; repeat the
// program to see the spread.
//
//   dcp_plan_bench [RANKS=512]

#include <sys/resource.h>

#include <algorithm>
#include <chrono>
#include <cstdio>
#include <cstdlib>
#include <string>
#include <utility>
#include <vector>

#include "dcp/metadata_codec.h"
#include "dcp/plan.h"
#include "llama_shapes.h"

namespace dcp::benchmarks {
namespace {

void AddItem(std::string fqn, const Dims& shape, const Box& chunk,
             SavePlan* plan) {
  const bool is_whole = chunk == WholeBox(shape);
  plan->items.push_back(
      {.fqn = std::move(fqn),
       .type = is_whole ? WriteItemType::kTensor : WriteItemType::kShard,
       .chunk = chunk,
       .global_size = shape,
       .properties = {.dtype = DType::kFloat32},
       .nbytes = chunk.numel() * 4,
       .source = static_cast<int64_t>(plan->items.size())});
}

/// What rank `rank` of `ranks` holds: torch.chunk's rows of every tensor.
SavePlan PlanOf(const std::vector<Parameter>& parameters, int64_t rank,
                int64_t ranks) {
  SavePlan plan;
  for (const auto& [fqn, shape] : parameters) {
    const int64_t rows = (shape[0] + ranks - 1) / ranks;
    Box chunk = WholeBox(shape);
    chunk.offsets[0] = std::min(rows * rank, shape[0]);
    chunk.sizes[0] = std::min(rows * (rank + 1), shape[0]) - chunk.offsets[0];
    if (chunk.sizes[0] > 0) {
      AddItem("model." + fqn, shape, chunk, &plan);
      AddItem("optim.state." + fqn + ".exp_avg", shape, chunk, &plan);
      AddItem("optim.state." + fqn + ".exp_avg_sq", shape, chunk, &plan);
    }
    AddItem("optim.state." + fqn + ".step", {}, {}, &plan);
  }
  return plan;
}

class Stopwatch {
 public:
  /// Prints the seconds since the last line, and a rate if there is one.
  void Print(const char* step, double megabytes = 0) {
    const auto now = std::chrono::steady_clock::now();
    const double seconds = std::chrono::duration<double>(now - begin_).count();
    std::printf("%-44s %9.3f s", step, seconds);
    if (megabytes > 0) std::printf("  %8.0f MB/s", megabytes / seconds);
    std::printf("\n");
    begin_ = std::chrono::steady_clock::now();
  }

 private:
  std::chrono::steady_clock::time_point begin_ =
      std::chrono::steady_clock::now();
};

double MegabytesOf(const std::vector<std::string>& messages) {
  double sum = 0;
  for (const std::string& message : messages) {
    sum += static_cast<double>(message.size());
  }
  return sum / 1e6;
}

double PeakMebibytes() {
  rusage usage{};
  ::getrusage(RUSAGE_SELF, &usage);
  return static_cast<double>(usage.ru_maxrss) / 1024;
}

/// Lookups of a chunk by its first row, in the tensor with the most chunks.
void MeasureFinder(const Metadata& metadata, Stopwatch* watch) {
  const TensorStorageMetadata* largest = nullptr;
  for (const auto& [fqn, entry] : metadata.entries()) {
    const auto* tensor = std::get_if<TensorStorageMetadata>(&entry);
    if (tensor == nullptr) continue;
    if (largest == nullptr || tensor->chunks.size() > largest->chunks.size()) {
      largest = tensor;
    }
  }
  const ChunkFinder finder(*largest);
  watch->Print("index of one tensor's chunks");
  constexpr int64_t kLookups = 1'000'000;
  size_t found = 0;
  for (int64_t i = 0; i < kLookups; ++i) {
    Box box = WholeBox(largest->size);
    box.offsets[0] = i * 7919 % largest->size[0];
    box.sizes[0] = 1;
    found += finder.FindIntersecting(box).size();
  }
  watch->Print(("1,000,000 lookups among " +
                std::to_string(largest->chunks.size()) + " chunks")
                   .c_str());
  if (found != kLookups) std::printf("lookups found %zu\n", found);
}

Status Run(int64_t ranks) {
  const std::vector<Parameter> parameters = Llama70B();
  std::vector<std::string> messages;
  size_t items = 0;
  Stopwatch watch;
  for (int64_t rank = 0; rank < ranks; ++rank) {
    const SavePlan plan = PlanOf(parameters, rank, ranks);
    items += plan.items.size();
    messages.push_back(SerializeSavePlan(plan));
  }
  std::printf("%lld ranks, %zu items, messages of %.1f MB, memory %.0f MiB\n",
              static_cast<long long>(ranks), items, MegabytesOf(messages),
              PeakMebibytes());
  watch.Print("all ranks: local plan and its message");
  std::vector<SavePlan> plans;
  const double megabytes = MegabytesOf(messages);
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
  for (SavePlan& plan : global.plans) {
    answers.push_back(SerializeSavePlan(plan));
    plan = {};
  }
  watch.Print("coordinator: writes the answers", MegabytesOf(answers));
  std::printf("%-44s %9.0f MiB\n", "memory so far, peak", PeakMebibytes());
  answers.clear();
  DCP_ASSIGN_OR_RETURN(const std::string pickle,
                       SerializeMetadata(global.metadata));
  const double pickled = static_cast<double>(pickle.size()) / 1e6;
  watch.Print("writes .metadata", pickled);
  DCP_ASSIGN_OR_RETURN(const Metadata parsed, ParseMetadata(pickle));
  watch.Print("reads .metadata", pickled);
  MeasureFinder(parsed, &watch);
  std::printf("%-44s %9.1f MB\n", ".metadata without places", pickled);
  return absl::OkStatus();
}

}  // namespace
}  // namespace dcp::benchmarks

int main(int argc, char** argv) {
  const int64_t ranks = argc > 1 ? std::atoll(argv[1]) : 512;
  if (ranks < 1 || ranks > (1 << 20)) {
    std::fprintf(stderr, "usage: dcp_plan_bench [RANKS=512]\n");
    return 2;
  }
  const dcp::Status status = dcp::benchmarks::Run(ranks);
  if (status.ok()) return 0;
  std::fprintf(stderr, "dcp_plan_bench: %s\n",
               std::string(dcp::Message(status)).c_str());
  return 1;
}
