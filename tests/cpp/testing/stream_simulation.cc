#include "testing/stream_simulation.h"

#include <algorithm>
#include <chrono>
#include <utility>

namespace dcp::testing {

Clock::TimePoint& StreamSimulation::EndOf(Stream stream) {
  Clock::TimePoint& end = ends_[stream];
  end = std::max(end, clock_->Now());
  return end;
}

void StreamSimulation::Enqueue(Stream stream, int64_t nbytes,
                               std::function<void()> work) {
  const MutexLock lock(mutex_);
  Clock::TimePoint& end = EndOf(stream);
  end += timing_.latency;
  if (timing_.bytes_per_second > 0) {
    end += std::chrono::duration_cast<Clock::Duration>(
        std::chrono::duration<double>(static_cast<double>(nbytes) /
                                      timing_.bytes_per_second));
  }
  work_.emplace(end, std::move(work));
}

StreamSimulation::Event StreamSimulation::Record(Stream stream) {
  const MutexLock lock(mutex_);
  const Event event = events_.size();
  const Clock::TimePoint end = EndOf(stream);
  const auto delay = Clock::Duration(std::uniform_int_distribution<int64_t>(
      0, timing_.max_event_delay.count())(random_));
  events_[event] = {.passes = end, .is_seen = end + delay};
  return event;
}

void StreamSimulation::WaitFor(Stream stream, Event event) {
  const MutexLock lock(mutex_);
  Clock::TimePoint& end = EndOf(stream);
  end = std::max(end, events_.at(event).passes);
}

void StreamSimulation::Settle() {
  const Clock::TimePoint now = clock_->Now();
  while (!work_.empty() && work_.begin()->first <= now) {
    const auto work = std::move(work_.begin()->second);
    work_.erase(work_.begin());
    work();
  }
}

bool StreamSimulation::HasPassed(Event event) {
  const MutexLock lock(mutex_);
  Settle();
  return events_.at(event).is_seen <= clock_->Now();
}

void StreamSimulation::Await(Event event) {
  while (!HasPassed(event)) {
    Clock::TimePoint is_seen;
    {
      const MutexLock lock(mutex_);
      is_seen = events_.at(event).is_seen;
    }
    clock_->SleepFor(is_seen - clock_->Now());
  }
}

void StreamSimulation::Drain(Stream stream) { Await(Record(stream)); }

}  // namespace dcp::testing
