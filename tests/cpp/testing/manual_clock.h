// ManualClock: time that a test moves.

#ifndef DCP_TESTS_TESTING_MANUAL_CLOCK_H_
#define DCP_TESTS_TESTING_MANUAL_CLOCK_H_

#include <cstdint>

#include "base/mutex.h"
#include "dcp/clock.h"

namespace dcp::testing {

/// What SleepFor() does: wait until another thread has advanced the clock far
/// enough, or advance it itself (for tests with one thread).
enum class SleepMode : uint8_t { kWaits, kAdvances };

/// Thread-safe.
class ManualClock final : public Clock {
 public:
  explicit ManualClock(SleepMode mode = SleepMode::kWaits) : mode_(mode) {}

  TimePoint Now() const override;
  void SleepFor(Duration duration) override;

  void Advance(Duration duration);
  /// Waits until `count` threads are in SleepFor().
  void WaitForSleepers(int count);

 private:
  const SleepMode mode_;
  mutable Mutex mutex_;
  CondVar changed_;
  TimePoint now_ ABSL_GUARDED_BY(mutex_){};
  int sleepers_ ABSL_GUARDED_BY(mutex_) = 0;
};

}  // namespace dcp::testing

#endif  // DCP_TESTS_TESTING_MANUAL_CLOCK_H_
