// CpuStopwatch: the time that a thread has computed.

#ifndef DCP_SIMULATE_CPU_STOPWATCH_H_
#define DCP_SIMULATE_CPU_STOPWATCH_H_

#include <time.h>

#include <utility>

namespace dcp {

/// Counts the processor's time for the thread that made it, so that others on
/// the machine disturb less.
class CpuStopwatch {
 public:
  /// The seconds since it was made, or since the last call.
  double Lap() {
    const double now = Now();
    return now - std::exchange(begin_, now);
  }

 private:
  static double Now() {
    timespec time{};
    ::clock_gettime(CLOCK_THREAD_CPUTIME_ID, &time);
    return static_cast<double>(time.tv_sec) +
           1e-9 * static_cast<double>(time.tv_nsec);
  }

  double begin_ = Now();
};

}  // namespace dcp

#endif  // DCP_SIMULATE_CPU_STOPWATCH_H_
