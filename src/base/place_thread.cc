#include "base/place_thread.h"

#include <sched.h>
#include <sys/resource.h>

#include <cerrno>
#include <string>

namespace dcp {
namespace {

constexpr int kMaxNice = 19;

}  // namespace

Status CheckThreadPlacement(const ThreadPlacement& placement) {
  if (placement.nice < 0 || placement.nice > kMaxNice) {
    return InvalidArgument("a niceness of " + std::to_string(placement.nice) +
                           " is not in 0 to " + std::to_string(kMaxNice));
  }
  if (placement.cpus.empty()) return absl::OkStatus();
  cpu_set_t allowed;
  if (::sched_getaffinity(0, sizeof(allowed), &allowed) != 0) {
    return ErrnoToStatus(errno, {.op = "sched_getaffinity"});
  }
  for (const int cpu : placement.cpus) {
    if (cpu < 0 || cpu >= CPU_SETSIZE || !CPU_ISSET(cpu, &allowed)) {
      return InvalidArgument("processor " + std::to_string(cpu) +
                             " is not among those that this process may use");
    }
  }
  return absl::OkStatus();
}

void PlaceThread(const ThreadPlacement& placement) {
  // For Linux these are a thread's, not the process's.
  if (placement.nice > ::getpriority(PRIO_PROCESS, 0)) {
    (void)::setpriority(PRIO_PROCESS, 0, placement.nice);
  }
  if (placement.cpus.empty()) return;
  cpu_set_t set;
  CPU_ZERO(&set);
  for (const int cpu : placement.cpus) CPU_SET(cpu, &set);
  (void)::sched_setaffinity(0, sizeof(set), &set);
}

}  // namespace dcp
