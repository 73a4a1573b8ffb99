#include <algorithm>
#include <cstddef>

#include "dcp/simulate_save.h"
#include "simulate/model_shapes.h"
#include "simulate/plan_simulation.h"
#include "simulate/rank_sample.h"
#include "simulate/simulated_job.h"

namespace dcp {
namespace {

/// What ranks hold, of those that were planned.
std::vector<int64_t> HeldBy(const SimulatedJob& job, const RankSample& sample) {
  LocalPlans plans(job);
  std::vector<int64_t> held;
  for (int64_t i = 0; i < sample.size(); ++i) {
    int64_t nbytes = 0;
    for (const WriteItem& item : plans.Of(sample.RankAt(i)).items) {
      nbytes += item.nbytes;
    }
    held.push_back(nbytes);
  }
  return held;
}

/// Every rank has what the planned one has that is the last not above it.
std::vector<int64_t> OfAll(const std::vector<int64_t>& planned,
                           const RankSample& sample, int64_t ranks) {
  std::vector<int64_t> all;
  all.reserve(static_cast<size_t>(ranks));
  for (int64_t i = 0; i < sample.size(); ++i) {
    const int64_t end =
        i + 1 < sample.size() ? int64_t{sample.RankAt(i + 1)} : ranks;
    all.resize(static_cast<size_t>(end), planned[static_cast<size_t>(i)]);
  }
  return all;
}

}  // namespace

StatusOr<SaveWork> PlanSaveWork(const PlanSimulationOptions& options) {
  DCP_ASSIGN_OR_RETURN(const PlanSimulation plan, SimulatePlan(options));
  if (!plan.outcome) {
    return InvalidArgument(
        "what ranks write is not known of a sample of gathered plans");
  }
  DCP_ASSIGN_OR_RETURN(const ModelShape model, ModelShapeOf(options.model));
  DCP_ASSIGN_OR_RETURN(const SimulatedJob job,
                       MakeSimulatedJob(model, options.degrees));
  const RankSample sample = SampleOf(job, options.max_items);
  return SaveWork{
      .written_nbytes = OfAll(plan.outcome->load_nbytes, sample, plan.ranks),
      .held_nbytes = OfAll(HeldBy(job, sample), sample, plan.ranks),
      .items = plan.outcome->items,
      .metadata_nbytes = plan.outcome->metadata_nbytes,
      .planning = plan.first_save,
      .ranks_planned = plan.ranks_planned};
}

}  // namespace dcp
