// Silence: how long nothing has moved between two ranks.

#ifndef DCP_COMM_SILENCE_H_
#define DCP_COMM_SILENCE_H_

#include <chrono>
#include <string>

#include "dcp/clock.h"

namespace dcp {

/// Counts only time in which this process was there to hear something: what
/// PollOneSlice says that it waited. One thread.
class Silence {
 public:
  /// `timeout`: how long is too long; 0: nothing is.
  explicit Silence(Clock::Duration timeout) : timeout_(timeout) {}

  void Break() { lasted_ = Clock::Duration(0); }
  void Add(Clock::Duration waited) { lasted_ += waited; }
  bool is_too_long() const {
    return timeout_ > Clock::Duration(0) && lasted_ >= timeout_;
  }
  /// "nothing has moved for 1500 ms"
  std::string ToString() const {
    const auto ms =
        std::chrono::duration_cast<std::chrono::milliseconds>(lasted_);
    return "nothing has moved for " + std::to_string(ms.count()) + " ms";
  }

 private:
  Clock::Duration timeout_;
  Clock::Duration lasted_{0};
};

}  // namespace dcp

#endif  // DCP_COMM_SILENCE_H_
