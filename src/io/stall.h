// A stall: a call of the storage that does not return.

#ifndef DCP_IO_STALL_H_
#define DCP_IO_STALL_H_

#include "dcp/clock.h"
#include "dcp/status.h"

namespace dcp {

/// The error of a call that has not returned for `timeout`: kDeadlineExceeded,
/// with `call` as detail and no errno. Says what to do.
Status StallError(const ErrorDetail& call, Clock::Duration timeout);

/// Whether `status` is a StallError, annotated or not.
bool IsStall(const Status& status);

}  // namespace dcp

#endif  // DCP_IO_STALL_H_
