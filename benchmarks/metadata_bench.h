// The part of dcp_plan_bench that measures `.metadata`.

#ifndef DCP_BENCHMARKS_METADATA_BENCH_H_
#define DCP_BENCHMARKS_METADATA_BENCH_H_

#include "dcp/plan.h"
#include "dcp/status.h"

namespace dcp::benchmarks {

/// Writes the metadata of `global`, with the place of every item, to memory,
/// reads it back and finds chunks in it.
Status MeasureMetadata(GlobalPlan global);

}  // namespace dcp::benchmarks

#endif  // DCP_BENCHMARKS_METADATA_BENCH_H_
