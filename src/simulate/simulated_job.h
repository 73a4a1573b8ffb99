// SimulatedJob: what the ranks of a job hold, as TorchTitan lays it out.

#ifndef DCP_SIMULATE_SIMULATED_JOB_H_
#define DCP_SIMULATE_SIMULATED_JOB_H_

#include <cstdint>
#include <vector>

#include "dcp/plan.h"
#include "dcp/simulate.h"
#include "dcp/status.h"
#include "plan/state_spec.h"
#include "simulate/model_shapes.h"

namespace dcp {

struct SimulatedJob {
  std::vector<StateSpec> specs;        ///< by pipeline stage
  std::vector<uint32_t> spec_of_rank;  ///< ascending

  int64_t ranks() const { return static_cast<int64_t>(spec_of_rank.size()); }
  /// What its ranks hold, together.
  int64_t items() const;
};

/// Mesh dimensions of one rank are left out, as torch leaves them out.
///
/// FSDP2 shards dimension 0, with strided shards where tensor parallelism has
/// sharded it before. Experts are sharded over ep along dimension 0, and then
/// over what is left of dp and tp, along dimension 1 if there are not enough
/// experts for it. Sources: torchtitan 0.2, models/llama3 and
/// models/deepseek_v3, infra/parallelize.py; distributed/pipeline_parallel.py
/// (generate_llm_fqn_per_model_part).
/// \error kInvalidArgument  as SimulatePlan, of degrees
StatusOr<SimulatedJob> MakeSimulatedJob(const ModelShape& model,
                                        const ParallelDegrees& degrees);

/// The local plans of a job's ranks, which they would send to be gathered. One
/// thread at a time.
class LocalPlans {
 public:
  /// `job` must outlive it.
  explicit LocalPlans(const SimulatedJob& job);
  /// Valid until the next call.
  const SavePlan& Of(uint32_t rank);

 private:
  const SimulatedJob& job_;
  std::vector<SavePlan> plans_;  // by spec, each of the rank asked for last
};

}  // namespace dcp

#endif  // DCP_SIMULATE_SIMULATED_JOB_H_
