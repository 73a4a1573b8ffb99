// The rules, in the order in which OnResult() applies them:
//
// 1. A step that moved bytes counts, however few (short transfers are normal:
//    read(2), write(2), and io_uring under memory pressure). The rest is the
//    next step.
// 2. A short direct transfer counts up to the last aligned byte only, so that
//    the rest is aligned again. If that is nothing, the rest goes through the
//    page cache: it is the tail of a file, or a file system that changed its
//    mind.
// 3. EINTR, EAGAIN and EBUSY moved nothing and are tried again, a bounded
//    number of times in a row: a broken driver must not become a hang.
// 4. EINVAL of a direct step means "not here"; the rest goes through the page
//    cache, and if that is EINVAL too it is reported.
// 5. A read of 0 bytes is the end of the file: bytes that should be there are
//    not. A write of 0 bytes would loop for ever: an error.
// 6. Everything else is final and is reported with path, offset and size.

#include "io/transfer.h"

#include <algorithm>
#include <cerrno>

#include "io/direct_io.h"

namespace dcp {
namespace {

const char* OpName(IoOp op) { return op == IoOp::kRead ? "pread" : "pwrite"; }

bool IsTransient(int error_number) {
  return error_number == EINTR || error_number == EAGAIN ||
         error_number == EBUSY;
}

bool StartsDirect(const TransferTarget& target, int64_t byte_offset,
                  std::span<const IoSlice> slices) {
  return target.direct_fd >= 0 && target.direct_io.has_value() &&
         FitsDirectIo(*target.direct_io, byte_offset, slices);
}

}  // namespace

Transfer::Transfer(IoOp op, const TransferTarget& target, int64_t byte_offset,
                   std::span<const IoSlice> slices, int64_t total_nbytes)
    : op_(op),
      target_(target),
      byte_offset_(byte_offset),
      total_nbytes_(total_nbytes),
      cursor_(slices),
      direct_(StartsDirect(target, byte_offset, slices)) {
  if (target.direct_io) {
    granule_ = std::max(target.direct_io->memory, target.direct_io->offset);
  }
}

TransferStep Transfer::Next() {
  step_nbytes_ = cursor_.Next(kMaxStepSlices, kMaxStepNbytes, &iov_);
  return {.op = op_,
          .fd = direct_ ? target_.direct_fd : target_.fd,
          .byte_offset = byte_offset_ + done_nbytes_,
          .iov = iov_,
          .nbytes = step_nbytes_};
}

Status Transfer::OnResult(int64_t result) {
  if (result < 0) return OnError(static_cast<int>(-result));
  if (result == 0) return OnNothing();
  if (result > step_nbytes_) {
    return Internal("the kernel moved " + std::to_string(result) + " of " +
                    std::to_string(step_nbytes_) + " bytes in " +
                    *target_.path);
  }
  transient_failures_ = 0;
  if (direct_ && result < step_nbytes_) {
    result -= result % granule_;
    if (result == 0) direct_ = false;
  }
  cursor_.Advance(result);
  done_nbytes_ += result;
  return absl::OkStatus();
}

Status Transfer::OnError(int error_number) {
  if (direct_ && error_number == EINVAL && target_.fd >= 0) {
    direct_ = false;
    direct_refused_ = true;
    return absl::OkStatus();
  }
  if (IsTransient(error_number) &&
      ++transient_failures_ < kMaxTransientFailures) {
    return absl::OkStatus();
  }
  return ErrnoToStatus(error_number,
                       {.op = OpName(op_),
                        .path = *target_.path,
                        .byte_offset = byte_offset_ + done_nbytes_,
                        .nbytes = left_nbytes()});
}

Status Transfer::OnNothing() const {
  const int64_t position = byte_offset_ + done_nbytes_;
  if (op_ == IoOp::kRead) {
    return EndOfFileError(*target_.path, position, left_nbytes());
  }
  return Annotate(ErrnoToStatus(EIO, {.op = OpName(op_),
                                      .path = *target_.path,
                                      .byte_offset = position,
                                      .nbytes = left_nbytes()}),
                  "a write moved no bytes");
}

}  // namespace dcp
