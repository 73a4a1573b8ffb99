// PollPause: how a rank waits for others without taking a core from them.

#ifndef DCP_BASE_POLL_PAUSE_H_
#define DCP_BASE_POLL_PAUSE_H_

#include <algorithm>
#include <chrono>
#include <string>

#include "dcp/clock.h"

namespace dcp {

/// Sleeps longer each time that nothing has happened.
class PollPause {
 public:
  explicit PollPause(Clock& clock) : clock_(clock) {}
  void Reset() { next_ = kShortest; }
  /// `is_moving`: bytes are on their way, some of them with each poll.
  void Take(bool is_moving = false) {
    if (is_moving) next_ = std::min(next_, kLongestWhileMoving);
    clock_.SleepFor(next_);
    next_ = std::min(2 * next_, kLongest);
  }

 private:
  static constexpr Clock::Duration kShortest = std::chrono::microseconds(5);
  static constexpr Clock::Duration kLongestWhileMoving =
      std::chrono::microseconds(100);
  static constexpr Clock::Duration kLongest = std::chrono::milliseconds(10);

  Clock& clock_;
  Clock::Duration next_ = kShortest;
};

inline std::string TextOf(Clock::Duration duration) {
  return std::to_string(std::chrono::duration<double>(duration).count()) + " s";
}

}  // namespace dcp

#endif  // DCP_BASE_POLL_PAUSE_H_
