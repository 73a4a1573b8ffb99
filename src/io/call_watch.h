// CallWatch: calls that may never return, and a caller that goes on.

#ifndef DCP_IO_CALL_WATCH_H_
#define DCP_IO_CALL_WATCH_H_

#include <chrono>
#include <functional>
#include <memory>
#include <string>
#include <utility>

#include "base/guarded.h"
#include "dcp/clock.h"
#include "dcp/status.h"
#include "io/fork_guard.h"

namespace dcp {

/// Has calls made by threads of its own, and leaves a thread behind whose call
/// does not return in time. call_watch.cc tells the rules. Thread-safe.
class CallWatch {
 public:
  /// With a timeout of 0, or where the system gives no thread, callers make
  /// their calls themselves.
  explicit CallWatch(Clock::Duration timeout);
  ~CallWatch();
  CallWatch(const CallWatch&) = delete;
  CallWatch& operator=(const CallWatch&) = delete;

  /// What `call` returns: a Status or a StatusOr. `call` may still be at work
  /// when this returns, so it owns what it uses; what it returns too late, and
  /// what it owns, is destroyed where it ran.
  /// \error kDeadlineExceeded  it did not return in time (IsStall), or an
  ///     earlier one did not: the same status, at once
  template <typename Result>
  Result Run(const ErrorDetail& name, std::function<Result()> call) {
    const auto task = std::make_shared<CallTask<Result>>(std::move(call));
    DCP_RETURN_IF_ERROR(RunTask(name, task));
    return std::move(task->result);
  }

  /// From now on every call fails with `stall`, also those that are waited for.
  void GiveUp(const Status& stall);

  /// Destroys `object` where it does not matter how long that takes. Waits for
  /// it like Run, but after a stall for a moment only. Throws nothing.
  void Discard(const char* op, const std::string& path,
               std::shared_ptr<void> object);

 private:
  struct Task {
    virtual ~Task() = default;
    virtual void Execute() = 0;
    bool done = false;  // guarded by the state's mutex
  };
  template <typename Result>
  struct CallTask final : Task {
    explicit CallTask(std::function<Result()> c) : call(std::move(c)) {}
    void Execute() override {
      result = Guarded(call);
      call = nullptr;
    }
    std::function<Result()> call;
    Result result;
  };
  struct Helper;
  struct State;

  Status RunTask(const ErrorDetail& name, const std::shared_ptr<Task>& task);
  Status Await(const ErrorDetail& name, const Task& task);
  /// Hands `task` to an idle helper, or a new one. False: there is no thread.
  bool Post(const std::shared_ptr<Task>& task);
  void DiscardOnHelper(const ErrorDetail& name, std::shared_ptr<void> object);
  static void Help(State& state, Helper& helper);

  const Clock::Duration timeout_;
  const std::shared_ptr<State> state_;  // helpers hold it, too
  const ForkGuard fork_guard_;
};

}  // namespace dcp

#endif  // DCP_IO_CALL_WATCH_H_
