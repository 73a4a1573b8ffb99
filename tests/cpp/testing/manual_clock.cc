#include "testing/manual_clock.h"

namespace dcp::testing {

Clock::TimePoint ManualClock::Now() const {
  const MutexLock lock(mutex_);
  return now_;
}

void ManualClock::SleepFor(Duration duration) {
  if (mode_ == SleepMode::kAdvances) return Advance(duration);
  const MutexLock lock(mutex_);
  const TimePoint wake_up = now_ + duration;
  ++sleepers_;
  changed_.NotifyAll();
  while (now_ < wake_up) changed_.Wait(mutex_);
  --sleepers_;
}

void ManualClock::Advance(Duration duration) {
  const MutexLock lock(mutex_);
  now_ += duration;
  changed_.NotifyAll();
}

void ManualClock::WaitForSleepers(int count) {
  const MutexLock lock(mutex_);
  while (sleepers_ < count) changed_.Wait(mutex_);
}

}  // namespace dcp::testing
