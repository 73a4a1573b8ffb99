// bench_report: what dcp_bench measured, as a table and as JSON.

#ifndef DCP_BENCHMARKS_BENCH_REPORT_H_
#define DCP_BENCHMARKS_BENCH_REPORT_H_

#include <cstdint>
#include <map>
#include <string>
#include <vector>

#include "meter.h"

namespace dcp::benchmarks {

/// The samples of one measure, one per repeat.
struct Outcome {
  std::string measure;
  int64_t nbytes = 0;  ///< moved by one repeat
  std::vector<Sample> samples;
};

struct Report {
  std::map<std::string, std::string> machine;
  std::map<std::string, std::string> parameters;
  std::vector<Outcome> outcomes;
};

/// Kernel, processor, cores, and the I/O engine with its reason.
std::map<std::string, std::string> DescribeMachine();

/// A line a measure: seconds (min, median, max), GB/s (10^9 bytes) at the
/// median, CPU seconds, MiB of memory added.
std::string ToTable(const Report& report);
std::string ToJson(const Report& report);

}  // namespace dcp::benchmarks

#endif  // DCP_BENCHMARKS_BENCH_REPORT_H_
