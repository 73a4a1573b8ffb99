#include "plan/split_units.h"

#include <algorithm>

namespace dcp {
namespace {

// Finer quanta than so many, or so many a holder, make no difference.
constexpr int64_t kMinMaxQuanta = 1024;
constexpr int64_t kMaxQuantaPerHolder = 4;

/// `value`, made divisible by `factor` if it is larger.
int64_t RoundDown(int64_t value, int64_t factor) {
  return value <= factor ? value : value - value % factor;
}

}  // namespace

int64_t SplitUnits(int64_t rows, int64_t nbytes, int64_t holders,
                   int64_t split_nbytes) {
  if (split_nbytes == 0 || nbytes <= split_nbytes) return 1;
  const int64_t most = std::max(kMinMaxQuanta, kMaxQuantaPerHolder * holders);
  const int64_t quanta =
      std::min(most, nbytes / std::max<int64_t>(split_nbytes / 2, 1));
  return std::min(rows, RoundDown(quanta, holders));
}

int64_t FirstRowOfUnit(int64_t rows, int64_t units, int64_t unit) {
  return unit * (rows / units) + unit * (rows % units) / units;
}

}  // namespace dcp
