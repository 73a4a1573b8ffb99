// Units: what a large replicated chunk is dealt out in.

#ifndef DCP_PLAN_SPLIT_UNITS_H_
#define DCP_PLAN_SPLIT_UNITS_H_

#include <cstdint>

namespace dcp {

/// Into how many units of work, equal to a row, a chunk of `rows` rows and
/// `nbytes` bytes is cut to be dealt out between `holders` ranks; 1 leaves it
/// whole. See GlobalPlanOptions::split_nbytes.
int64_t SplitUnits(int64_t rows, int64_t nbytes, int64_t holders,
                   int64_t split_nbytes);

/// The row at which unit `unit` of `units` begins, in a chunk of `rows` rows.
int64_t FirstRowOfUnit(int64_t rows, int64_t units, int64_t unit);

}  // namespace dcp

#endif  // DCP_PLAN_SPLIT_UNITS_H_
