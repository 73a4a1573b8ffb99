// StallMonitor: sees when the transfers of some threads come to no end.

#ifndef DCP_STAGING_STALL_MONITOR_H_
#define DCP_STAGING_STALL_MONITOR_H_

#include <chrono>
#include <cstddef>
#include <functional>
#include <vector>

#include "base/mutex.h"
#include "dcp/clock.h"
#include "dcp/status.h"

namespace dcp {

/// Threads tell it when they are in a call of the storage; somebody waits until
/// all have ended, or have been left behind in such a call. Thread-safe.
class StallMonitor {
 public:
  /// \param timeout  0: calls may take for ever.
  StallMonitor(size_t threads, Clock::Duration timeout);

  /// Thread `i` is about to make a call that `name` describes. False: it must
  /// not, because there was a stall; the thread has been left behind.
  bool Enter(size_t i, const ErrorDetail& name);
  /// It has returned. False: too late, the thread has been left behind.
  bool Leave(size_t i);
  /// Thread `i` will tell nothing more.
  void End(size_t i);

  /// Waits until all threads have ended or there is a stall: threads in calls,
  /// none of which has returned within the timeout. They are left behind then,
  /// and the error names one.
  /// \param meanwhile  if set, is called every 50 ms, in this thread.
  Status AwaitEndOrStall(const std::function<void()>& meanwhile);
  /// Waits for the threads that have not been left behind.
  void AwaitEnd();

 private:
  using TimePoint = std::chrono::steady_clock::time_point;

  struct Thread {
    bool has_ended = false;  // or was left behind
    bool is_in_call = false;
    TimePoint entered;  // the last call
    ErrorDetail name;
  };

  /// Sleeps until something changes, `until`, or it is time for `meanwhile`.
  void WaitAtMost(TimePoint until, const std::function<void()>& meanwhile)
      ABSL_EXCLUSIVE_LOCKS_REQUIRED(mutex_);
  /// The thread that waits longest in a call, counted from the last return.
  const Thread* Slowest(TimePoint* since) const
      ABSL_EXCLUSIVE_LOCKS_REQUIRED(mutex_);
  void EndLocked(Thread& thread) ABSL_EXCLUSIVE_LOCKS_REQUIRED(mutex_);

  const Clock::Duration timeout_;
  Mutex mutex_;
  CondVar changed_;
  std::vector<Thread> threads_ ABSL_GUARDED_BY(mutex_);
  size_t running_ ABSL_GUARDED_BY(mutex_);
  bool stalled_ ABSL_GUARDED_BY(mutex_) = false;
  TimePoint last_return_ ABSL_GUARDED_BY(mutex_);
};

}  // namespace dcp

#endif  // DCP_STAGING_STALL_MONITOR_H_
