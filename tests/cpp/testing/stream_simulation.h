// StreamSimulation: work on the streams of a device that is not there.

#ifndef DCP_TESTS_TESTING_STREAM_SIMULATION_H_
#define DCP_TESTS_TESTING_STREAM_SIMULATION_H_

#include <cstdint>
#include <functional>
#include <map>
#include <memory>
#include <random>

#include "absl/base/thread_annotations.h"
#include "base/mutex.h"
#include "dcp/clock.h"

namespace dcp::testing {

struct StreamTiming {
  Clock::Duration latency{0};   ///< of each piece of work
  double bytes_per_second = 0;  ///< of copies; 0: they take no time
  /// Events are seen up to this much after they have passed, and so in another
  /// order than that: at random, by `seed`.
  Clock::Duration max_event_delay{0};
  uint64_t seed = 1;
};

/// Work is done at its end, whose time is known when it is enqueued: when all
/// before it on the stream is done, and what the stream waits for, plus what it
/// takes. It runs, in the order of the ends, in a thread that looks or waits.
/// Thread-safe.
class StreamSimulation {
 public:
  using Stream = uintptr_t;
  using Event = uint64_t;

  StreamSimulation(std::shared_ptr<Clock> clock, const StreamTiming& timing)
      : clock_(std::move(clock)), timing_(timing), random_(timing.seed) {}

  void Enqueue(Stream stream, int64_t nbytes, std::function<void()> work);
  Event Record(Stream stream);
  /// What is enqueued on `stream` from now on begins after `event`.
  void WaitFor(Stream stream, Event event);

  bool HasPassed(Event event);
  /// Sleeps by the clock until the event is seen.
  void Await(Event event);
  /// As Await, for all that is on `stream`.
  void Drain(Stream stream);

 private:
  void Settle() ABSL_EXCLUSIVE_LOCKS_REQUIRED(mutex_);
  Clock::TimePoint& EndOf(Stream stream) ABSL_EXCLUSIVE_LOCKS_REQUIRED(mutex_);

  const std::shared_ptr<Clock> clock_;
  const StreamTiming timing_;
  Mutex mutex_;
  std::mt19937_64 random_ ABSL_GUARDED_BY(mutex_);
  std::map<Stream, Clock::TimePoint> ends_ ABSL_GUARDED_BY(mutex_);
  std::multimap<Clock::TimePoint, std::function<void()>> work_
      ABSL_GUARDED_BY(mutex_);
  struct Passing {
    Clock::TimePoint passes;
    Clock::TimePoint is_seen;
  };
  std::map<Event, Passing> events_ ABSL_GUARDED_BY(mutex_);
};

}  // namespace dcp::testing

#endif  // DCP_TESTS_TESTING_STREAM_SIMULATION_H_
