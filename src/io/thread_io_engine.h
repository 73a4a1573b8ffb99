// ThreadIoEngine: transfers done by a few threads, or by the caller's own.

#ifndef DCP_IO_THREAD_IO_ENGINE_H_
#define DCP_IO_THREAD_IO_ENGINE_H_

#include <memory>
#include <thread>
#include <vector>

#include "base/mutex.h"
#include "dcp/io_engine.h"
#include "io/fixed_queue.h"
#include "io/fork_guard.h"

namespace dcp {

/// One thread at a time.
class ThreadIoEngine final : public IoEngine {
 public:
  /// Starts `threads` threads, or as many as the system gives. With none,
  /// Submit() does the transfers.
  ThreadIoEngine(int queue_depth, int threads,
                 const ThreadPlacement& placement = {});
  ~ThreadIoEngine() override;

  std::string_view name() const override {
    return workers_.empty() ? "inline" : "threads";
  }
  int queue_depth() const override { return queue_depth_; }
  bool RegisterBuffer(IoSlice) override { return false; }
  Status Submit(const IoRequest& request) override;
  StatusOr<IoCompletion> Wait() override;
  StatusOr<std::optional<IoCompletion>> Poll() override;

 private:
  /// What the caller and the workers share.
  struct Shared {
    explicit Shared(size_t queue_depth)
        : waiting(queue_depth), finished(queue_depth) {}

    Mutex mutex;
    CondVar has_work;
    CondVar has_finished;
    FixedQueue<IoRequest> waiting ABSL_GUARDED_BY(mutex);
    FixedQueue<IoCompletion> finished ABSL_GUARDED_BY(mutex);
    bool stopping ABSL_GUARDED_BY(mutex) = false;
  };

  static void RunWorker(Shared& shared);
  /// Returns whether the system gave a thread.
  bool StartWorker(const ThreadPlacement& placement);
  IoCompletion TakeFinished() ABSL_EXCLUSIVE_LOCKS_REQUIRED(shared_->mutex);

  const ForkGuard fork_guard_;
  const int queue_depth_;
  // Each worker holds a reference.
  const std::shared_ptr<Shared> shared_;
  std::vector<std::thread> workers_;
  int in_flight_ = 0;
};

}  // namespace dcp

#endif  // DCP_IO_THREAD_IO_ENGINE_H_
