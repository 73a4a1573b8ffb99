// How much memory this process may still take.

#ifndef DCP_BASE_HOST_MEMORY_H_
#define DCP_BASE_HOST_MEMORY_H_

#include <cstdint>
#include <optional>
#include <string>

namespace dcp {

/// Where the kernel tells of memory; other places are for tests.
struct MemoryFiles {
  std::string proc = "/proc";
  std::string cgroup = "/sys/fs/cgroup";
};

/// Bytes that can be taken without swapping: what the machine has available
/// (proc_meminfo(5) MemAvailable), or, if that is less, what the process's
/// control group, and those above it, leave up to their limits (cgroup v2
/// memory.max; file pages that can be dropped count as free). nullopt if the
/// kernel tells neither.
std::optional<int64_t> AvailableHostMemory(const MemoryFiles& files = {});

}  // namespace dcp

#endif  // DCP_BASE_HOST_MEMORY_H_
