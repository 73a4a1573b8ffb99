// BlockQueue: hands the blocks of a pipeline to its workers.

#ifndef DCP_STAGING_BLOCK_QUEUE_H_
#define DCP_STAGING_BLOCK_QUEUE_H_

#include <atomic>
#include <cstddef>
#include <span>

#include "absl/base/thread_annotations.h"
#include "base/mutex.h"
#include "dcp/status.h"

namespace dcp {

/// Hands out blocks in order and keeps the first error. Thread-safe.
template <typename Block>
class BlockQueue {
 public:
  explicit BlockQueue(std::span<const Block> blocks) : blocks_(blocks) {}

  /// nullptr when there are no more or something failed.
  const Block* Next() {
    if (failed_.load(std::memory_order_relaxed)) return nullptr;
    const size_t i = next_.fetch_add(1, std::memory_order_relaxed);
    return i < blocks_.size() ? &blocks_[i] : nullptr;
  }

  /// Keeps `status` if it is the first error; nothing is handed out any more.
  void Fail(const Status& status) {
    MutexLock lock(mutex_);
    first_error_.Update(status);
    failed_.store(true, std::memory_order_relaxed);
  }

  Status status() {
    MutexLock lock(mutex_);
    return first_error_;
  }

 private:
  std::span<const Block> blocks_;
  std::atomic<size_t> next_{0};
  std::atomic<bool> failed_{false};
  Mutex mutex_;
  Status first_error_ ABSL_GUARDED_BY(mutex_);
};

}  // namespace dcp

#endif  // DCP_STAGING_BLOCK_QUEUE_H_
