// HolderShares: which holder of its chunks writes a key, in closed form.

#ifndef DCP_PLAN_HOLDER_SHARES_H_
#define DCP_PLAN_HOLDER_SHARES_H_

#include <cstdint>
#include <vector>

#include "plan/holder_classes.h"

namespace dcp {

/// Units [begin, end) of a chunk, for its holder number `holder`.
struct UnitRun {
  int64_t holder = 0;
  int64_t begin = 0;
  int64_t end = 0;
};

/// Who writes the chunks of a key.
struct KeyShares {
  int64_t owner = 0;  ///< the holder that writes whole chunks
  /// More than 1: chunks are split between `runs` instead, by holder. Unit `i`
  /// begins at FirstRowOfUnit(a chunk's rows, units, i).
  int64_t units = 1;
  std::vector<UnitRun> runs;
};

/// Deals out every key of `holders` between the holders of its first chunk, by
/// bytes; the other chunks are written by holders of the same numbers. By key.
std::vector<KeyShares> DealShares(const HolderClasses& holders,
                                  int64_t split_nbytes);

}  // namespace dcp

#endif  // DCP_PLAN_HOLDER_SHARES_H_
