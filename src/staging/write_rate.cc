#include "staging/write_rate.h"

#include <algorithm>
#include <chrono>
#include <utility>

namespace dcp {
namespace {

constexpr Clock::Duration kAskEvery = std::chrono::milliseconds(50);

}  // namespace

std::shared_ptr<WriteRate> WriteRate::Make(int64_t bytes_per_second,
                                           std::shared_ptr<Clock> clock) {
  if (bytes_per_second <= 0) return nullptr;
  return std::make_shared<WriteRate>(bytes_per_second, std::move(clock));
}

WriteRate::WriteRate(int64_t bytes_per_second, std::shared_ptr<Clock> clock)
    : bytes_per_second_(bytes_per_second),
      clock_(std::move(clock)),
      next_(clock_->Now()) {}

void WriteRate::Await(int64_t nbytes, const std::function<bool()>& is_over) {
  const Clock::TimePoint begin = Reserve(nbytes);
  while (!is_over()) {
    const Clock::Duration left = begin - clock_->Now();
    if (left <= Clock::Duration::zero()) return;
    clock_->SleepFor(std::min(left, kAskEvery));
  }
}

Clock::TimePoint WriteRate::Reserve(int64_t nbytes) {
  const MutexLock lock(mutex_);
  const Clock::TimePoint begin = std::max(next_, clock_->Now());
  const std::chrono::duration<double> share(
      static_cast<double>(nbytes) / static_cast<double>(bytes_per_second_));
  next_ = begin + std::chrono::duration_cast<Clock::Duration>(share);
  return begin;
}

}  // namespace dcp
