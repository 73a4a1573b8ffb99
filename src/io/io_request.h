// What every engine does with a request, however it runs it.

#ifndef DCP_IO_IO_REQUEST_H_
#define DCP_IO_IO_REQUEST_H_

#include "dcp/io_engine.h"

namespace dcp {

/// The request's size, after the checks of IoEngine::Submit.
/// \error kInvalidArgument  no file, or a range that does not fit int64
StatusOr<int64_t> CheckRequest(const IoRequest& request);

/// The error of a Submit() beyond the queue depth.
Status QueueFullError(int queue_depth);
/// The error of a Wait() for nothing.
Status NothingInFlightError();

/// Does the transfer in this thread, through the file.
Status ExecuteRequest(const IoRequest& request);

}  // namespace dcp

#endif  // DCP_IO_IO_REQUEST_H_
