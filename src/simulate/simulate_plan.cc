#include <algorithm>
#include <string>
#include <variant>

#include "dcp/simulate.h"
#include "simulate/model_shapes.h"
#include "simulate/plan_simulation.h"
#include "simulate/rank_sample.h"
#include "simulate/simulated_job.h"

namespace dcp {
namespace {

int64_t TensorNbytes(const SimulatedJob& job) {
  int64_t sum = 0;
  for (const StateSpec& spec : job.specs) {
    for (const StateEntry& entry : spec.entries) {
      if (const auto* whole = std::get_if<WholeTensor>(&entry.value)) {
        sum += whole->nbytes;
        continue;
      }
      const auto& laid_out = std::get<LaidOutTensor>(entry.value);
      sum += Numel(spec.layouts[laid_out.layout].global_size) *
             ItemSize(laid_out.properties.dtype);
    }
  }
  return sum;
}

}  // namespace

RankSample SampleOf(const SimulatedJob& job, int64_t max_items) {
  const int64_t items = job.items();
  if (max_items >= items) return {job.ranks(), job.ranks()};
  const double share =
      static_cast<double>(max_items) / static_cast<double>(items);
  const auto wanted =
      static_cast<int64_t>(share * static_cast<double>(job.ranks()));
  return {job.ranks(), std::max<int64_t>(wanted, 1)};
}

StatusOr<PlanSimulation> SimulatePlan(const PlanSimulationOptions& options) {
  if (options.max_items < 1) {
    return InvalidArgument("a simulation needs at least 1 item, not " +
                           std::to_string(options.max_items));
  }
  DCP_ASSIGN_OR_RETURN(const ModelShape model, ModelShapeOf(options.model));
  DCP_ASSIGN_OR_RETURN(const SimulatedJob job,
                       MakeSimulatedJob(model, options.degrees));
  PlanSimulation result{.ranks = job.ranks(),
                        .tensors = static_cast<int64_t>(model.tensors.size()),
                        .nbytes = TensorNbytes(job),
                        .specs = static_cast<int64_t>(job.specs.size()),
                        .items = job.items()};
  for (const ModelTensor& tensor : model.tensors) {
    result.elements += Numel(tensor.shape);
  }
  const RankSample sample = SampleOf(job, options.max_items);
  result.ranks_planned = sample.size();
  DCP_RETURN_IF_ERROR(options.mode == PlanningMode::kGather
                          ? SimulateGather(job, sample, &result)
                          : SimulateClosedForm(job, sample, &result));
  return result;
}

}  // namespace dcp
