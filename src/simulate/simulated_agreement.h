// SimulatedAgreement: ranks agree who writes what, by digests of their states.

#ifndef DCP_SIMULATE_SIMULATED_AGREEMENT_H_
#define DCP_SIMULATE_SIMULATED_AGREEMENT_H_

#include "dcp/simulate.h"
#include "dcp/status.h"
#include "simulate/simulated_job.h"

namespace dcp {

struct SimulatedAgreement {
  PlanTraffic traffic;
  /// The processor's, on the coordinator: digesting its state, telling the
  /// states apart, deriving who writes what.
  double coordinator_seconds = 0;
};

/// Two saves of one state, with what ranks remember from the first.
struct SimulatedAgreements {
  SimulatedAgreement first_save;
  SimulatedAgreement unchanged_save;
};

/// Runs the coordinator's part (PlanAgreement) over a transport whose other
/// ranks send what they would. \error kUnimplemented  ranks would send plans
StatusOr<SimulatedAgreements> SimulateAgreements(const SimulatedJob& job);

}  // namespace dcp

#endif  // DCP_SIMULATE_SIMULATED_AGREEMENT_H_
