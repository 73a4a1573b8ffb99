#include "io/stall.h"

#include <chrono>
#include <sstream>

namespace dcp {

Status StallError(const ErrorDetail& call, Clock::Duration timeout) {
  std::ostringstream text;
  text << "the storage does not answer: " << call.op << " " << call.path;
  if (call.byte_offset) text << " [offset=" << *call.byte_offset << " B]";
  text
      << " has not returned for "
      << std::chrono::duration<double>(timeout).count()
      << " s (IoOptions::stall_timeout), and the save is given up. Look at the "
         "mount, its server and the kernel's log; then save again, to another "
         "place if it stays so";
  return WithDetail(MakeStatus(absl::StatusCode::kDeadlineExceeded, text.str()),
                    call);
}

bool IsStall(const Status& status) {
  if (status.code() != absl::StatusCode::kDeadlineExceeded) return false;
  const auto detail = GetErrorDetail(status);
  return detail && detail->error_number == 0;
}

}  // namespace dcp
