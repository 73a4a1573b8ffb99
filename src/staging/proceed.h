// ProceedCheck: asks a pipeline's owner now and then whether to go on.

#ifndef DCP_STAGING_PROCEED_H_
#define DCP_STAGING_PROCEED_H_

#include <chrono>
#include <functional>
#include <utility>

#include "dcp/status.h"

namespace dcp {

/// Asks `proceed` (may be null) every 50 ms, not oftener: it may be Python's.
class ProceedCheck {
 public:
  explicit ProceedCheck(std::function<Status()> proceed)
      : proceed_(std::move(proceed)) {}

  Status operator()() {
    if (!proceed_) return absl::OkStatus();
    if (std::chrono::steady_clock::now() < next_) return absl::OkStatus();
    next_ = Next();
    return proceed_();
  }

 private:
  static std::chrono::steady_clock::time_point Next() {
    return std::chrono::steady_clock::now() + std::chrono::milliseconds(50);
  }

  std::function<Status()> proceed_;
  std::chrono::steady_clock::time_point next_ = Next();
};

}  // namespace dcp

#endif  // DCP_STAGING_PROCEED_H_
