// UniqueFd: owns one file descriptor.

#ifndef DCP_BASE_UNIQUE_FD_H_
#define DCP_BASE_UNIQUE_FD_H_

#include <unistd.h>

#include <utility>

namespace dcp {

/// Closes its descriptor when it goes. The destructor ignores close(2)'s error:
/// whoever wrote through the descriptor calls Release() and checks.
class UniqueFd {
 public:
  UniqueFd() = default;
  explicit UniqueFd(int fd) : fd_(fd) {}
  UniqueFd(UniqueFd&& other) noexcept : fd_(std::exchange(other.fd_, -1)) {}
  UniqueFd& operator=(UniqueFd&& other) noexcept {
    std::swap(fd_, other.fd_);
    return *this;
  }
  ~UniqueFd() {
    if (fd_ >= 0) (void)::close(fd_);
  }

  bool ok() const { return fd_ >= 0; }
  int get() const { return fd_; }
  int Release() { return std::exchange(fd_, -1); }

 private:
  int fd_ = -1;
};

}  // namespace dcp

#endif  // DCP_BASE_UNIQUE_FD_H_
