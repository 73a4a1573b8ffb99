// SharedLink: something that moves bytes at a rate, for all who use it.

#ifndef DCP_SIMULATE_SHARED_LINK_H_
#define DCP_SIMULATE_SHARED_LINK_H_

#include <algorithm>

namespace dcp {

/// One thing after the other, in the order of the calls. One thread.
class SharedLink {
 public:
  /// Bytes a second; 0: no limit.
  explicit SharedLink(double rate) : rate_(rate) {}

  bool has_limit() const { return rate_ > 0; }

  /// When `nbytes` that come at `seconds` are through.
  double Move(double seconds, double nbytes) {
    free_at_ = std::max(free_at_, seconds);
    if (has_limit()) free_at_ += nbytes / rate_;
    return free_at_;
  }

 private:
  double rate_;
  double free_at_ = 0;
};

}  // namespace dcp

#endif  // DCP_SIMULATE_SHARED_LINK_H_
