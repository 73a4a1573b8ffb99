#include "io/thread_io_engine.h"

#include <new>
#include <system_error>
#include <utility>

#include "base/guarded.h"
#include "base/place_thread.h"
#include "io/io_request.h"

namespace dcp {
namespace {

IoCompletion Execute(const IoRequest& request) {
  return {.tag = request.tag,
          .status = Guarded([&] { return ExecuteRequest(request); })};
}

}  // namespace

ThreadIoEngine::ThreadIoEngine(int queue_depth, int threads,
                               const ThreadPlacement& placement)
    : queue_depth_(queue_depth),
      shared_(std::make_shared<Shared>(static_cast<size_t>(queue_depth))) {
  workers_.reserve(static_cast<size_t>(threads));
  for (int i = 0; i < threads && StartWorker(placement); ++i) {
  }
}

bool ThreadIoEngine::StartWorker(const ThreadPlacement& placement) {
  try {
    workers_.emplace_back([shared = shared_, placement] {
      PlaceThread(placement);
      RunWorker(*shared);
    });
    return true;
  } catch (const std::system_error&) {  // EAGAIN: a limit on threads
    return false;
  } catch (const std::bad_alloc&) {
    return false;
  }
}

ThreadIoEngine::~ThreadIoEngine() {
  if (fork_guard_.in_child()) {
    // The threads stayed with the parent. Their references did not: they keep
    // what the threads may have locked when the process forked.
    for (std::thread& worker : workers_) ForgetThread(worker);
    return;
  }
  {
    const MutexLock lock(shared_->mutex);
    shared_->stopping = true;
  }
  shared_->has_work.NotifyAll();
  for (std::thread& worker : workers_) worker.join();
}

void ThreadIoEngine::RunWorker(Shared& shared) {
  for (;;) {
    IoRequest request;
    {
      const MutexLock lock(shared.mutex);
      while (shared.waiting.empty() && !shared.stopping) {
        shared.has_work.Wait(shared.mutex);
      }
      if (shared.waiting.empty()) return;
      request = shared.waiting.Pop();
    }
    IoCompletion completion = Execute(request);
    const MutexLock lock(shared.mutex);
    shared.finished.Push(std::move(completion));
    shared.has_finished.NotifyOne();
  }
}

Status ThreadIoEngine::Submit(const IoRequest& request) {
  DCP_RETURN_IF_ERROR(fork_guard_.Check());
  DCP_RETURN_IF_ERROR(CheckRequest(request).status());
  if (in_flight_ == queue_depth_) return QueueFullError(queue_depth_);
  ++in_flight_;
  if (workers_.empty()) {
    IoCompletion completion = Execute(request);
    const MutexLock lock(shared_->mutex);
    shared_->finished.Push(std::move(completion));
    return absl::OkStatus();
  }
  const MutexLock lock(shared_->mutex);
  shared_->waiting.Push(request);
  shared_->has_work.NotifyOne();
  return absl::OkStatus();
}

IoCompletion ThreadIoEngine::TakeFinished() {
  --in_flight_;
  return shared_->finished.Pop();
}

StatusOr<IoCompletion> ThreadIoEngine::Wait() {
  DCP_RETURN_IF_ERROR(fork_guard_.Check());
  if (in_flight_ == 0) return NothingInFlightError();
  const MutexLock lock(shared_->mutex);
  while (shared_->finished.empty()) {
    shared_->has_finished.Wait(shared_->mutex);
  }
  return TakeFinished();
}

StatusOr<std::optional<IoCompletion>> ThreadIoEngine::Poll() {
  DCP_RETURN_IF_ERROR(fork_guard_.Check());
  const MutexLock lock(shared_->mutex);
  if (shared_->finished.empty()) return std::nullopt;
  return TakeFinished();
}

}  // namespace dcp
