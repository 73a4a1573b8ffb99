// meter: what one call costs. Linux only (/proc).

#ifndef DCP_BENCHMARKS_METER_H_
#define DCP_BENCHMARKS_METER_H_

#include <functional>
#include <string>

#include "dcp/file_system.h"
#include "dcp/status.h"

namespace dcp::benchmarks {

struct Sample {
  double seconds = 0;
  double cpu_seconds = 0;    ///< user and system, all threads
  double extra_rss_mib = 0;  ///< highest resident size above that before
};

/// Runs `call` once. One call at a time in a process: CPU time and memory are
/// the whole process's.
StatusOr<Sample> Measure(const std::function<Status()>& call);

/// Makes the kernel forget the pages of all files in `directory`: they are
/// synced first, for only clean pages go.
Status DropFromCache(FileSystem& fs, const std::string& directory);

/// Reads all files in `directory` through the page cache.
Status BringToCache(FileSystem& fs, const std::string& directory);

}  // namespace dcp::benchmarks

#endif  // DCP_BENCHMARKS_METER_H_
