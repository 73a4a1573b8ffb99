// ForkGuard: notices that this process is a fork of the one that made an
// object.

#ifndef DCP_IO_FORK_GUARD_H_
#define DCP_IO_FORK_GUARD_H_

#include <unistd.h>

#include <memory>
#include <string>
#include <thread>
#include <utility>

#include "dcp/status.h"

namespace dcp {

/// A forked child inherits an engine's memory but not its threads, and shares
/// its ring with the parent: using either would hang or steal completions.
class ForkGuard {
 public:
  bool in_child() const { return ::getpid() != owner_; }

  /// \error kFailedPrecondition  in a forked child
  Status Check() const {
    if (!in_child()) return absl::OkStatus();
    return FailedPrecondition("this I/O engine was made by process " +
                              std::to_string(owner_) +
                              " before it forked; make a new one in the child");
  }

 private:
  const pid_t owner_ = ::getpid();
};

/// In a forked child: lets go of a thread that stayed with the parent. It can
/// neither be joined nor detached, because the C library may have taken the
/// memory that it keeps of it.
inline void ForgetThread(std::thread& thread) {
  [[maybe_unused]] std::thread* const never_destroyed =
      std::make_unique<std::thread>(std::move(thread)).release();
}

}  // namespace dcp

#endif  // DCP_IO_FORK_GUARD_H_
