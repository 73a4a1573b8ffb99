// HeldLocks: the locks that a call under way keeps from others.

#ifndef DCP_IO_HELD_LOCKS_H_
#define DCP_IO_HELD_LOCKS_H_

#include <memory>
#include <vector>

#include "base/mutex.h"
#include "dcp/file_system.h"

namespace dcp {

/// Knows locks without holding them. Thread-safe.
class HeldLocks {
 public:
  using Locks = std::vector<std::shared_ptr<FileLock>>;

  void Add(const std::shared_ptr<FileLock>& lock) {
    const MutexLock guard(mutex_);
    std::erase_if(locks_, [](const auto& known) { return known.expired(); });
    locks_.push_back(lock);
  }

  /// Those that somebody holds; who has the result holds them, too.
  Locks Held() {
    Locks held;
    const MutexLock guard(mutex_);
    for (const auto& lock : locks_) {
      if (auto taken = lock.lock()) held.push_back(std::move(taken));
    }
    return held;
  }

 private:
  Mutex mutex_;
  std::vector<std::weak_ptr<FileLock>> locks_ ABSL_GUARDED_BY(mutex_);
};

}  // namespace dcp

#endif  // DCP_IO_HELD_LOCKS_H_
