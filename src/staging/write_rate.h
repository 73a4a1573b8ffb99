// WriteRate: bounds how fast a writer writes, for disks that others use, too.

#ifndef DCP_STAGING_WRITE_RATE_H_
#define DCP_STAGING_WRITE_RATE_H_

#include <cstdint>
#include <functional>
#include <memory>

#include "absl/base/thread_annotations.h"
#include "base/mutex.h"
#include "dcp/clock.h"

namespace dcp {

/// Every write takes its share of the time, one after the other; time in which
/// nothing was written is not made up for. Thread-safe.
class WriteRate {
 public:
  /// Null for a rate of 0: unbounded.
  static std::shared_ptr<WriteRate> Make(int64_t bytes_per_second,
                                         std::shared_ptr<Clock> clock);

  WriteRate(int64_t bytes_per_second, std::shared_ptr<Clock> clock);

  /// Returns when `nbytes` may be written, or `is_over` says that they need
  /// not: it is asked several times a second.
  void Await(int64_t nbytes, const std::function<bool()>& is_over);

 private:
  /// When a write of `nbytes` may begin.
  Clock::TimePoint Reserve(int64_t nbytes);

  const int64_t bytes_per_second_;
  const std::shared_ptr<Clock> clock_;
  Mutex mutex_;
  Clock::TimePoint next_ ABSL_GUARDED_BY(mutex_);
};

}  // namespace dcp

#endif  // DCP_STAGING_WRITE_RATE_H_
