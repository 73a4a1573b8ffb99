#include "io/io_request.h"

#include <string>

#include "io/slices.h"

namespace dcp {

StatusOr<int64_t> CheckRequest(const IoRequest& request) {
  if (request.file == nullptr) {
    return InvalidArgument("an I/O request names no file");
  }
  return CheckedTotal(request.file->path(), request.byte_offset,
                      request.slices);
}

Status QueueFullError(int queue_depth) {
  return FailedPrecondition("all " + std::to_string(queue_depth) +
                            " requests of the I/O engine are in flight");
}

Status NothingInFlightError() {
  return FailedPrecondition("no request of the I/O engine is in flight");
}

Status ExecuteRequest(const IoRequest& request) {
  return request.op == IoOp::kRead
             ? request.file->ReadFully(request.byte_offset, request.slices)
             : request.file->WriteFully(request.byte_offset, request.slices);
}

}  // namespace dcp
