#include "dcp/async_save.h"

#include <unistd.h>

#include <algorithm>
#include <chrono>
#include <new>
#include <string>
#include <system_error>
#include <thread>
#include <utility>

#include "base/guarded.h"
#include "base/mutex.h"
#include "checkpoint/staged_state.h"
#include "io/fork_guard.h"

namespace dcp {
namespace {

bool IsCancel(const Status& status) {
  const auto detail = GetErrorDetail(status);
  return detail && detail->op == kCancelOp;
}

/// A save that failed because a rank cancelled it is cancelled on all.
StatusOr<SaveResult> NameCancel(StatusOr<SaveResult> result) {
  const auto failures = GetRankFailures(result.status());
  if (!failures) return result;
  const bool cancelled =
      std::any_of(failures->by_rank.begin(), failures->by_rank.end(),
                  [](const auto& failure) { return IsCancel(failure.second); });
  if (!cancelled) return result;
  return MakeStatus(absl::StatusCode::kCancelled, Message(result.status()));
}

}  // namespace

class AsyncSaveHandle::Operation {
 public:
  Operation(StatusOr<std::shared_ptr<StagedState>> staged,
            AsyncSaveTarget target, const SaveOptions& options)
      : owner_(::getpid()),
        staged_(std::move(staged)),
        target_(std::move(target)),
        options_(options) {}

  ~Operation() {
    if (in_child()) {
      ForgetThread(thread_);
    } else if (thread_.joinable()) {
      thread_.join();
    }
  }

  void Start() {
    try {
      thread_ = std::thread([this] { Run(); });
    } catch (const std::system_error&) {  // EAGAIN: a limit on threads
      Run();
    } catch (const std::bad_alloc&) {
      Run();
    }
  }

  /// Whether this is a forked child, where the thread is not.
  bool in_child() const { return ::getpid() != owner_; }

  const StatusOr<std::shared_ptr<StagedState>>& staged() const {
    return staged_;
  }

  bool is_done() {
    const MutexLock lock(mutex_);
    return is_done_;
  }

  StatusOr<SaveResult> Wait(std::optional<Clock::Duration> timeout) {
    if (in_child()) {
      return FailedPrecondition("this save is one of process " +
                                std::to_string(owner_) +
                                ", which began it before it forked, and is "
                                "not in the child");
    }
    const auto deadline =
        std::chrono::steady_clock::now() + timeout.value_or(Clock::Duration(0));
    const MutexLock lock(mutex_);
    while (!is_done_) {
      if (!timeout) {
        done_.Wait(mutex_);
      } else if (std::chrono::steady_clock::now() < deadline) {
        done_.WaitUntil(mutex_, deadline);
      } else {
        return MakeStatus(absl::StatusCode::kDeadlineExceeded,
                          "the save is still under way");
      }
    }
    return result_;
  }

 private:
  void Run() {
    StatusOr<SaveResult> result = Guarded([this] {
      return NameCancel(
          Save(staged_, *target_.writer, *target_.transport, options_));
    });
    target_ = {};  // tells the others that this rank has left
    const MutexLock lock(mutex_);
    result_ = std::move(result);
    is_done_ = true;
    done_.NotifyAll();
  }

  const pid_t owner_;
  const StatusOr<std::shared_ptr<StagedState>> staged_;
  AsyncSaveTarget target_;
  const SaveOptions options_;
  Mutex mutex_;
  CondVar done_;
  bool is_done_ ABSL_GUARDED_BY(mutex_) = false;
  StatusOr<SaveResult> result_ ABSL_GUARDED_BY(mutex_) = SaveResult{};
  std::thread thread_;
};

AsyncSaveHandle::AsyncSaveHandle(std::unique_ptr<Operation> operation)
    : operation_(std::move(operation)) {}

AsyncSaveHandle::~AsyncSaveHandle() {
  // What the parent's threads may be using at the fork cannot be destroyed.
  if (!operation_->in_child()) return;
  [[maybe_unused]] const Operation* const left = operation_.release();
}

Status AsyncSaveHandle::WaitStaged(std::optional<Clock::Duration> timeout) {
  const auto& staged = operation_->staged();
  return staged.ok() ? (*staged)->WaitStaged(timeout) : staged.status();
}

Status AsyncSaveHandle::WaitHandedOver(std::optional<Clock::Duration> timeout) {
  const auto& staged = operation_->staged();
  return staged.ok() ? (*staged)->WaitHandedOver(timeout) : staged.status();
}

StatusOr<SaveResult> AsyncSaveHandle::Wait(
    std::optional<Clock::Duration> timeout) {
  return operation_->Wait(timeout);
}

AsyncSaveProgress AsyncSaveHandle::progress() const {
  if (operation_->in_child()) return {};
  AsyncSaveProgress progress{.is_staged = true,
                             .is_done = operation_->is_done()};
  if (const auto& staged = operation_->staged(); staged.ok()) {
    progress.nbytes = (*staged)->nbytes();
    progress.nbytes_staged = (*staged)->nbytes_staged();
    progress.nbytes_streamed = (*staged)->nbytes_streamed();
    progress.is_staged = (*staged)->is_staged();
    progress.is_handed_over =
        (*staged)->WaitHandedOver(Clock::Duration(0)).ok();
  }
  return progress;
}

void AsyncSaveHandle::Cancel() {
  if (operation_->staged().ok()) (*operation_->staged())->Cancel();
}

std::unique_ptr<AsyncSaveHandle> AsyncSave(
    StatusOr<std::vector<SaveEntry>> entries, std::shared_ptr<void> keep_alive,
    AsyncSaveTarget target, const AsyncSaveOptions& options) {
  using Staged = StatusOr<std::shared_ptr<StagedState>>;
  auto staged = entries.ok() ? StagedState::Begin(
                                   *std::move(entries), std::move(keep_alive),
                                   options.staging, options.device)
                             : Staged(entries.status());
  std::unique_ptr<AsyncSaveHandle> handle(
      new AsyncSaveHandle(std::make_unique<AsyncSaveHandle::Operation>(
          std::move(staged), std::move(target), options.save)));
  handle->operation_->Start();
  return handle;
}

std::unique_ptr<AsyncSaveHandle> AsyncSave(const std::string& path,
                                           std::vector<SaveEntry> entries) {
  return AsyncSave(std::move(entries), nullptr,
                   {.writer = MakeFileSystemWriter({.path = path}),
                    .transport = MakeSingleProcessTransport()});
}

}  // namespace dcp
