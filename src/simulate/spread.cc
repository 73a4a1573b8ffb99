#include "simulate/spread.h"

#include <algorithm>
#include <cmath>
#include <cstddef>
#include <numeric>

namespace dcp {

Spread SpreadOf(std::vector<double> values) {
  if (values.empty()) return {};
  std::sort(values.begin(), values.end());
  const auto count = static_cast<double>(values.size());
  // The least value that so large a share does not exceed.
  const auto quantile = [&](double share) {
    return values[static_cast<size_t>(std::ceil(share * count)) - 1];
  };
  return {.least = values.front(),
          .median = quantile(0.5),
          .p99 = quantile(0.99),
          .most = values.back(),
          .mean = std::accumulate(values.begin(), values.end(), 0.0) / count};
}

}  // namespace dcp
