// BlockQueue: hands the blocks of a pipeline to its workers.

#ifndef DCP_STAGING_BLOCK_QUEUE_H_
#define DCP_STAGING_BLOCK_QUEUE_H_

#include <atomic>
#include <cstddef>
#include <span>
#include <utility>
#include <vector>

#include "absl/base/thread_annotations.h"
#include "base/mutex.h"
#include "dcp/status.h"

namespace dcp {

/// Hands out blocks and keeps the first error. Those of a lane are neighbors
/// and go out in order; a worker stays in its lane while there are some. It is
/// safe to use from several threads.
template <typename Block>
class BlockQueue {
 public:
  /// A worker's place.
  struct Place {
    size_t lane = 0;
  };

  /// One lane.
  explicit BlockQueue(std::span<const Block> blocks)
      : BlockQueue(blocks, {blocks.size()}) {}

  /// \param lane_ends  where in `blocks` each lane ends, in order
  BlockQueue(std::span<const Block> blocks, std::vector<size_t> lane_ends)
      : blocks_(blocks), ends_(std::move(lane_ends)), next_(ends_.size()) {
    for (size_t i = 1; i < ends_.size(); ++i) next_[i] = ends_[i - 1];
  }

  /// Where the worker of this number begins: they spread over the lanes.
  Place PlaceOf(size_t worker, size_t workers) const {
    return {worker * ends_.size() / workers};
  }

  /// nullptr when there are no more or something failed.
  const Block* Next(Place& place) {
    for (size_t tried = 0; tried < ends_.size(); ++tried) {
      if (failed()) return nullptr;
      const size_t i = next_[place.lane].fetch_add(1);
      if (i < ends_[place.lane]) return &blocks_[i];
      place.lane = (place.lane + 1) % ends_.size();
    }
    return nullptr;
  }

  bool failed() const { return failed_.load(std::memory_order_relaxed); }

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
  const std::vector<size_t> ends_;
  std::vector<std::atomic<size_t>> next_;
  std::atomic<bool> failed_{false};
  Mutex mutex_;
  Status first_error_ ABSL_GUARDED_BY(mutex_);
};

}  // namespace dcp

#endif  // DCP_STAGING_BLOCK_QUEUE_H_
