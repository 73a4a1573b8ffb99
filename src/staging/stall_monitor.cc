#include "staging/stall_monitor.h"

#include <algorithm>

#include "base/guarded.h"
#include "io/stall.h"

namespace dcp {

StallMonitor::StallMonitor(size_t threads, Clock::Duration timeout)
    : timeout_(timeout), threads_(threads), running_(threads) {}

bool StallMonitor::Enter(size_t i, const ErrorDetail& name) {
  const MutexLock lock(mutex_);
  Thread& thread = threads_[i];
  if (stalled_) {
    EndLocked(thread);
    return false;
  }
  thread.name = name;
  thread.is_in_call = true;
  thread.entered = std::chrono::steady_clock::now();
  return true;
}

bool StallMonitor::Leave(size_t i) {
  const MutexLock lock(mutex_);
  Thread& thread = threads_[i];
  thread.is_in_call = false;
  last_return_ = std::chrono::steady_clock::now();
  return !thread.has_ended;
}

void StallMonitor::End(size_t i) {
  const MutexLock lock(mutex_);
  EndLocked(threads_[i]);
}

void StallMonitor::EndLocked(Thread& thread) {
  if (thread.has_ended) return;
  thread.has_ended = true;
  if (--running_ == 0) changed_.NotifyAll();
}

const StallMonitor::Thread* StallMonitor::Slowest(TimePoint* since) const {
  const Thread* slowest = nullptr;
  for (const Thread& thread : threads_) {
    if (thread.has_ended || !thread.is_in_call) continue;
    if (slowest == nullptr || thread.entered < slowest->entered) {
      slowest = &thread;
    }
  }
  if (slowest != nullptr) *since = std::max(slowest->entered, last_return_);
  return slowest;
}

Status StallMonitor::AwaitEndOrStall(const std::function<void()>& meanwhile) {
  const MutexLock lock(mutex_);
  while (running_ > 0) {
    if (timeout_ <= Clock::Duration::zero()) {
      WaitAtMost(TimePoint::max(), meanwhile);
      continue;
    }
    // A call that begins from now on has the whole timeout.
    TimePoint since = std::chrono::steady_clock::now();
    const Thread* slowest = Slowest(&since);
    if (slowest != nullptr &&
        std::chrono::steady_clock::now() - since >= timeout_) {
      stalled_ = true;
      const Status stall =
          Guarded([&] { return StallError(slowest->name, timeout_); });
      for (Thread& thread : threads_) {
        if (thread.is_in_call) EndLocked(thread);
      }
      return stall;
    }
    WaitAtMost(since + timeout_, meanwhile);
  }
  return absl::OkStatus();
}

void StallMonitor::WaitAtMost(TimePoint until,
                              const std::function<void()>& meanwhile) {
  if (!meanwhile) {
    // An end of time is more than some clocks can wait for.
    until == TimePoint::max() ? changed_.Wait(mutex_)
                              : changed_.WaitUntil(mutex_, until);
    return;
  }
  const TimePoint next =
      std::chrono::steady_clock::now() + std::chrono::milliseconds(50);
  changed_.WaitUntil(mutex_, std::min(until, next));
  if (running_ == 0 || std::chrono::steady_clock::now() < next) return;
  mutex_.Unlock();  // it may take long, and the threads must go on
  meanwhile();
  mutex_.Lock();
}

void StallMonitor::AwaitEnd() {
  const MutexLock lock(mutex_);
  while (running_ > 0) changed_.Wait(mutex_);
}

}  // namespace dcp
