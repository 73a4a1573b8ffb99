// SpreadOf: what many values are like.

#ifndef DCP_SIMULATE_SPREAD_H_
#define DCP_SIMULATE_SPREAD_H_

#include <vector>

#include "dcp/simulate_save.h"

namespace dcp {

/// Zeros if there are none.
Spread SpreadOf(std::vector<double> values);

}  // namespace dcp

#endif  // DCP_SIMULATE_SPREAD_H_
