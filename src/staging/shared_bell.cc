#include "staging/shared_bell.h"

#include <linux/futex.h>
#include <sys/syscall.h>
#include <unistd.h>

#include <climits>
#include <ctime>

namespace dcp {

static_assert(std::atomic<uint32_t>::is_always_lock_free &&
              sizeof(std::atomic<uint32_t>) == sizeof(uint32_t));

void SharedBell::Ring() {
  value_.fetch_add(1, std::memory_order_release);
  ::syscall(SYS_futex, &value_, FUTEX_WAKE, INT_MAX, nullptr, nullptr, 0);
}

void SharedBell::Wait(uint32_t seen, std::chrono::milliseconds patience) {
  const auto seconds =
      std::chrono::duration_cast<std::chrono::seconds>(patience);
  const std::chrono::nanoseconds rest = patience - seconds;
  const timespec timeout{.tv_sec = static_cast<time_t>(seconds.count()),
                         .tv_nsec = static_cast<long>(rest.count())};
  // It rang before, a signal, or too long: the caller looks again in any case.
  ::syscall(SYS_futex, &value_, FUTEX_WAIT, seen, &timeout, nullptr, 0);
}

}  // namespace dcp
