// Storage that hangs does not fail: a write to a server that is gone, or an
// fsync on a device that lost its link, may keep its thread in the kernel for
// ever. Nothing takes a thread out of there, so the thread is what is given up.
//
// 1. A call is made by a helper, a thread that the watch keeps for the next
//    call. The caller waits for it with a deadline.
// 2. After the deadline the watch is done for: that call, every later one and
//    those that others wait for fail with the same error, without being made.
//    So a save that met a stall ends soon, whatever it has still to tidy up.
// 3. A helper whose call is late stays behind, detached. What the call uses and
//    what it returns belong to the call, so that nothing that a late return
//    touches is anybody else's. It ends when its call returns, or with the
//    process, which does not wait for it.
// 4. Locks and files must be let go also after a stall: on storage that works
//    but for one file it takes no time, and the next save needs the lock.
//    Discard() makes such calls, and waits kGrace for them.

#include "io/call_watch.h"

#include <new>
#include <span>
#include <system_error>
#include <thread>
#include <vector>

#include "base/mutex.h"
#include "io/stall.h"

namespace dcp {
namespace {

using SteadyClock = std::chrono::steady_clock;

constexpr std::chrono::milliseconds kGrace{300};

}  // namespace

struct CallWatch::Helper {
  std::thread thread;
  std::shared_ptr<Task> task;  // to be made, or being made
};

struct CallWatch::State {
  Mutex mutex;
  CondVar changed;
  std::vector<std::unique_ptr<Helper>> helpers ABSL_GUARDED_BY(mutex);
  Status stall ABSL_GUARDED_BY(mutex);
  /// When the last of what is discarded after a stall is waited for no more.
  SteadyClock::time_point grace_end ABSL_GUARDED_BY(mutex);
  bool closed ABSL_GUARDED_BY(mutex) = false;

  /// For a forked child, which has one thread.
  std::span<const std::unique_ptr<Helper>> unlocked_helpers() const
      ABSL_NO_THREAD_SAFETY_ANALYSIS {
    return helpers;
  }
};

CallWatch::CallWatch(Clock::Duration timeout)
    : timeout_(timeout), state_(std::make_shared<State>()) {}

CallWatch::~CallWatch() {
  if (fork_guard_.in_child()) {
    // The threads stayed with the parent; one may have had the mutex then.
    for (const auto& helper : state_->unlocked_helpers()) {
      ForgetThread(helper->thread);
    }
    return;
  }
  std::span<const std::unique_ptr<Helper>> helpers;
  {
    const MutexLock lock(state_->mutex);
    state_->closed = true;
    for (const auto& helper : state_->helpers) {
      if (helper->task != nullptr) helper->thread.detach();
    }
    helpers = state_->helpers;  // nobody adds to them any more
    state_->changed.NotifyAll();
  }
  for (const auto& helper : helpers) {
    if (helper->thread.joinable()) helper->thread.join();
  }
}

void CallWatch::Help(State& state, Helper& helper) {
  for (;;) {
    std::shared_ptr<Task> task;
    {
      const MutexLock lock(state.mutex);
      while (helper.task == nullptr && !state.closed) {
        state.changed.Wait(state.mutex);
      }
      if (helper.task == nullptr) return;
      task = helper.task;
    }
    task->Execute();
    const MutexLock lock(state.mutex);
    task->done = true;
    helper.task.reset();
    state.changed.NotifyAll();
  }
}

bool CallWatch::Post(const std::shared_ptr<Task>& task) {
  const MutexLock lock(state_->mutex);
  for (const auto& helper : state_->helpers) {
    if (helper->task != nullptr) continue;
    helper->task = task;
    state_->changed.NotifyAll();
    return true;
  }
  auto helper = std::make_unique<Helper>();
  state_->helpers.reserve(state_->helpers.size() + 1);
  helper->task = task;
  try {
    helper->thread = std::thread(
        [state = state_, raw = helper.get()] { Help(*state, *raw); });
  } catch (const std::bad_alloc&) {
    return false;
  } catch (const std::system_error&) {  // EAGAIN: a limit on threads
    return false;
  }
  state_->helpers.push_back(std::move(helper));
  return true;
}

Status CallWatch::Await(const ErrorDetail& name, const Task& task) {
  const auto deadline = SteadyClock::now() + timeout_;
  const MutexLock lock(state_->mutex);
  while (!task.done && state_->stall.ok()) {
    if (SteadyClock::now() >= deadline) {
      state_->stall = StallError(name, timeout_);
      state_->changed.NotifyAll();
      break;
    }
    state_->changed.WaitUntil(state_->mutex, deadline);
  }
  return task.done ? absl::OkStatus() : state_->stall;
}

Status CallWatch::RunTask(const ErrorDetail& name,
                          const std::shared_ptr<Task>& task) {
  {
    const MutexLock lock(state_->mutex);
    if (!state_->stall.ok()) return state_->stall;
  }
  if (timeout_ > Clock::Duration::zero() && Post(task)) {
    return Await(name, *task);
  }
  task->Execute();
  return absl::OkStatus();
}

void CallWatch::GiveUp(const Status& stall) {
  const MutexLock lock(state_->mutex);
  if (state_->stall.ok()) state_->stall = stall;
  state_->changed.NotifyAll();
}

void CallWatch::Discard(const char* op, const std::string& path,
                        std::shared_ptr<void> object) {
  try {
    DiscardOnHelper({.op = op, .path = path}, std::move(object));
  } catch (const std::bad_alloc&) {
    return;  // it has been destroyed here
  }
}

void CallWatch::DiscardOnHelper(const ErrorDetail& name,
                                std::shared_ptr<void> object) {
  const auto task = std::make_shared<CallTask<Status>>(
      [object = std::move(object)]() mutable -> Status {
        object.reset();
        return absl::OkStatus();
      });
  if (timeout_ <= Clock::Duration::zero() || !Post(task)) {
    task->Execute();
    return;
  }
  if (Await(name, *task).ok()) return;
  const MutexLock lock(state_->mutex);
  const auto now = SteadyClock::now();
  if (state_->grace_end == SteadyClock::time_point()) {
    state_->grace_end = now + kGrace;
  }
  while (!task->done && SteadyClock::now() < state_->grace_end) {
    state_->changed.WaitUntil(state_->mutex, state_->grace_end);
  }
}

}  // namespace dcp
