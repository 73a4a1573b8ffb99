// Clock: the seam for time, so that tests can hold it still.

#ifndef DCP_CLOCK_H_
#define DCP_CLOCK_H_

#include <chrono>
#include <memory>

namespace dcp {

/// Monotonic time and waiting. Thread-safe.
class Clock {
 public:
  using Duration = std::chrono::nanoseconds;
  using TimePoint =
      std::chrono::time_point<std::chrono::steady_clock, Duration>;

  virtual ~Clock() = default;
  virtual TimePoint Now() const = 0;
  virtual void SleepFor(Duration duration) = 0;
};

/// The process's steady clock.
std::shared_ptr<Clock> MakeSystemClock();

}  // namespace dcp

#endif  // DCP_CLOCK_H_
