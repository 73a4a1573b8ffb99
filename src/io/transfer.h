// Transfer: one read or write on its way, and what to do after each result.
//
// The rules for short, interrupted and refused transfers are the same for
// preadv(2), pwritev(2) and io_uring; they are written down once, here. Whoever
// executes the steps owns the system call, a Transfer owns the decision.

#ifndef DCP_IO_TRANSFER_H_
#define DCP_IO_TRANSFER_H_

#include <sys/uio.h>

#include <cstdint>
#include <optional>
#include <span>
#include <string>
#include <vector>

#include "dcp/io_engine.h"
#include "io/slices.h"

namespace dcp {

/// The descriptors of one open file.
struct TransferTarget {
  const std::string* path = nullptr;  ///< not null; outlives the transfer
  int fd = -1;
  int direct_fd = -1;
  std::optional<DirectIoAlignment> direct_io;
};

/// One system call to make.
struct TransferStep {
  IoOp op = IoOp::kRead;
  int fd = -1;
  int64_t byte_offset = 0;
  std::span<const iovec> iov;  ///< valid until OnResult()
  int64_t nbytes = 0;          ///< sum of `iov`
};

/// One thread at a time. The slices must outlive the transfer.
class Transfer {
 public:
  /// The range must have passed CheckedTotal(), which gave `total_nbytes`.
  Transfer(IoOp op, const TransferTarget& target, int64_t byte_offset,
           std::span<const IoSlice> slices, int64_t total_nbytes);

  bool done() const { return done_nbytes_ == total_nbytes_; }
  int64_t done_nbytes() const { return done_nbytes_; }
  int64_t left_nbytes() const { return total_nbytes_ - done_nbytes_; }

  /// The next call to make; there must be something left.
  TransferStep Next();

  /// Takes what the last step gave: bytes, or -errno. Not OK: the transfer has
  /// failed for good.
  Status OnResult(int64_t result);

  /// Results in a row that moved nothing and may be tried again (EINTR, EAGAIN,
  /// EBUSY). OnResult() gives up at kMaxTransientFailures.
  int transient_failures() const { return transient_failures_; }
  /// Direct I/O was refused with EINVAL although the request was aligned.
  bool direct_refused() const { return direct_refused_; }

  static constexpr int kMaxTransientFailures = 1000;
  /// Below the kernel's own limit of 0x7ffff000 (read(2), NOTES), and aligned.
  static constexpr int64_t kMaxStepNbytes = int64_t{1} << 30;
  static constexpr size_t kMaxStepSlices = 1024;  ///< IOV_MAX on Linux

 private:
  Status OnError(int error_number);
  Status OnNothing() const;

  IoOp op_;
  TransferTarget target_;
  int64_t byte_offset_;
  int64_t total_nbytes_;
  int64_t done_nbytes_ = 0;
  SliceCursor cursor_;
  bool direct_;
  int64_t granule_ = 1;  // what a direct step may be cut to
  bool direct_refused_ = false;
  int transient_failures_ = 0;
  std::vector<iovec> iov_;
  int64_t step_nbytes_ = 0;
};

}  // namespace dcp

#endif  // DCP_IO_TRANSFER_H_
