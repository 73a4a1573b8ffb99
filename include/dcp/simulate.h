// SimulatePlan: what it takes to plan the save of a job that is not there.
//
// The job is a published model with AdamW's state, laid out over a mesh as
// TorchTitan does it. Its ranks come one after the other, in one thread; what
// they and the coordinator compute and send is computed by the code that plans
// saves, and counted.

#ifndef DCP_SIMULATE_H_
#define DCP_SIMULATE_H_

#include <cstdint>
#include <optional>
#include <string>
#include <string_view>
#include <vector>

#include "dcp/dims.h"
#include "dcp/status.h"

namespace dcp {

/// TorchTitan's degrees of parallelism, each from 1. Ranks are numbered by
/// pipeline stage, then replica, then shard, then rank of tensor parallelism.
struct ParallelDegrees {
  int64_t dp_replicate = 1;  ///< copies of what FSDP shards (HSDP)
  int64_t dp = 1;            ///< shards of FSDP
  int64_t tp = 1;
  int64_t pp = 1;
  /// Shares the ranks of dp and tp: a divisor of dp * tp and a multiple of tp.
  /// 1: experts are laid out as other tensors.
  int64_t ep = 1;

  int64_t ranks() const { return dp_replicate * dp * tp * pp; }
};

enum class PlanningMode : uint8_t {
  /// Each rank derives what it writes; ranks exchange digests of their states.
  kClosedForm,
  /// The coordinator gets the plans of all ranks.
  kGather,
};

struct PlanSimulationOptions {
  std::string model;  ///< one of SimulatedModels()
  ParallelDegrees degrees;
  PlanningMode mode = PlanningMode::kClosedForm;
  /// How many items, of all ranks together, are planned. If a job has more, a
  /// sample of ranks, evenly spaced, stands for all of them. Gather mode takes
  /// some 65 bytes each.
  int64_t max_items = int64_t{32} << 20;
};

/// What ranks send each other. All of it goes to the coordinator or comes from
/// there, a message between it and each other rank a collective.
struct PlanTraffic {
  int64_t messages = 0;
  int64_t nbytes = 0;
};

/// Seconds are the processor's on one core. Those of the network are not in
/// them, nor those of writing data and `.metadata`.
struct PlanStep {
  std::string name;
  double seconds = 0;
};

/// What comes of a plan.
struct PlanOutcome {
  int64_t items = 0;            ///< chunks that are written, by one rank each
  int64_t metadata_nbytes = 0;  ///< of `.metadata`, with the items' places
  /// How many ranks' items were serialized for that; the rest is put in at the
  /// same rate.
  int64_t metadata_ranks = 0;
  int64_t mean_load_nbytes = 0;  ///< that a rank writes
  int64_t max_load_nbytes = 0;
  std::vector<int64_t> load_nbytes;  ///< of each rank that was planned
};

struct PlanSimulation {
  int64_t ranks = 0;
  int64_t tensors = 0;   ///< of the model
  int64_t elements = 0;  ///< of these
  int64_t nbytes = 0;    ///< of the checkpoint's tensors
  int64_t specs = 0;     ///< states that differ: those of pipeline stages
  int64_t items = 0;     ///< that ranks hold, all together
  /// Fewer than `ranks`: what follows is worked out from a sample.
  int64_t ranks_planned = 0;
  std::vector<PlanStep> rank_steps;  ///< of one rank, on average
  std::vector<PlanStep> coordinator_steps;
  PlanTraffic first_save;
  PlanTraffic unchanged_save;  ///< of the state of the save before
  /// nullopt in gather mode if ranks_planned < ranks: who else holds a chunk is
  /// not known then.
  std::optional<PlanOutcome> outcome;
};

/// "llama3-70b" and others.
std::vector<std::string_view> SimulatedModels();

struct SimulatedTensor {
  std::string fqn;  ///< as in TorchTitan 0.2
  Dims shape;
};

/// The parameters of a model, and the buffers that are saved with them.
/// \error kInvalidArgument  no such model
StatusOr<std::vector<SimulatedTensor>> SimulatedTensors(std::string_view model);

/// Plans a save of float32 parameters with AdamW's two moments and its steps.
///
/// The layout is TorchTitan's: FSDP2 over dp, tensor parallelism by columns and
/// rows, layers divided into stages with the embeddings and the output counted
/// as a layer each, experts over ep. In closed form each rank sends the digests
/// of its state and of the plan that it remembers, and is told the plan's. If
/// states are new and differ, the lowest rank of each sends it before that, all
/// ranks get all of them, and say when they have planned.
///
/// Deterministic but for the seconds.
/// \error kInvalidArgument  no such model; degrees that the model or each other
///     do not allow, or more than 2^24 ranks in all; `max_items` below 1
/// \error kUnimplemented  in closed form: ranks would send their plans, because
///     the layout has none, or too many states differ
StatusOr<PlanSimulation> SimulatePlan(const PlanSimulationOptions& options);

}  // namespace dcp

#endif  // DCP_SIMULATE_H_
