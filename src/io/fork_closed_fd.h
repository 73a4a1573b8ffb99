// ForkClosedFd: a descriptor that forked children do not keep open.

#ifndef DCP_IO_FORK_CLOSED_FD_H_
#define DCP_IO_FORK_CLOSED_FD_H_

#include "base/unique_fd.h"

namespace dcp {

/// Close-on-exec is not enough: a trainer forks its data loader's workers
/// without exec, and a lock of an open file description (fcntl(2), F_OFD_SETLK)
/// would live on in them after the trainer was killed.
class ForkClosedFd {
 public:
  explicit ForkClosedFd(UniqueFd fd);
  ~ForkClosedFd();
  ForkClosedFd(const ForkClosedFd&) = delete;
  ForkClosedFd& operator=(const ForkClosedFd&) = delete;

  /// The descriptor; closed, so that its number may be another file's, in a
  /// forked child.
  int get() const { return fd_.get(); }

 private:
  UniqueFd fd_;
  const int slot_;  // in the list of what a child closes, -1: it was full
};

}  // namespace dcp

#endif  // DCP_IO_FORK_CLOSED_FD_H_
