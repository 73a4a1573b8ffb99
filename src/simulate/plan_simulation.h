// The simulations of the two ways to plan a save.

#ifndef DCP_SIMULATE_PLAN_SIMULATION_H_
#define DCP_SIMULATE_PLAN_SIMULATION_H_

#include <cstdint>

#include "dcp/simulate.h"
#include "dcp/status.h"
#include "simulate/rank_sample.h"
#include "simulate/simulated_job.h"

namespace dcp {

/// The ranks of `job` that are planned, so that they have `max_items` at most;
/// one, if that has more.
RankSample SampleOf(const SimulatedJob& job, int64_t max_items);

// Each fills the steps, the traffic and the outcome of `result`. \error
// kUnimplemented  of the first: the job's ranks would send their plans.
Status SimulateClosedForm(const SimulatedJob& job, const RankSample& sample,
                          PlanSimulation* result);
Status SimulateGather(const SimulatedJob& job, const RankSample& sample,
                      PlanSimulation* result);

}  // namespace dcp

#endif  // DCP_SIMULATE_PLAN_SIMULATION_H_
