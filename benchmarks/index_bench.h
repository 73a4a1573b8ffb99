// The part of dcp_plan_bench that measures indexed metadata.

#ifndef DCP_BENCHMARKS_INDEX_BENCH_H_
#define DCP_BENCHMARKS_INDEX_BENCH_H_

#include <cstdint>

#include "dcp/status.h"

namespace dcp::benchmarks {

/// Writes the index of a save of `ranks` ranks to memory, finds entries, and
/// reads chunks.
Status MeasureIndex(int64_t ranks);

}  // namespace dcp::benchmarks

#endif  // DCP_BENCHMARKS_INDEX_BENCH_H_
