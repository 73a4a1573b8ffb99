// The job that a simulation is of, as Python names it.

#ifndef DCP_BINDINGS_SIMULATED_JOB_H_
#define DCP_BINDINGS_SIMULATED_JOB_H_

#include <cstdint>
#include <map>
#include <string>

#include "dcp/simulate.h"
#include "dcp/status.h"

namespace dcp {

/// `mesh`: degrees by name. `mode`: closed-form or gather.
/// \error kInvalidArgument  no such degree or mode
StatusOr<PlanSimulationOptions> ToPlanOptions(
    const std::string& model, const std::map<std::string, int64_t>& mesh,
    const std::string& mode, int64_t max_items);

}  // namespace dcp

#endif  // DCP_BINDINGS_SIMULATED_JOB_H_
