// Status and StatusOr: how every fallible call of libdcp reports failure.
//
// Nothing is thrown across libdcp. A Status carries a code and a message that
// says what happened, where and what to do; failures of I/O carry their parts
// (errno, path, offset) as a payload, so that a binding can raise the matching
// error type of its language.

#ifndef DCP_STATUS_H_
#define DCP_STATUS_H_

#include <cstdint>
#include <map>
#include <optional>
#include <string>
#include <string_view>

#include "absl/status/status.h"
#include "absl/status/statusor.h"

namespace dcp {

using Status = absl::Status;
template <typename T>
using StatusOr = absl::StatusOr<T>;

/// What libdcp's status codes mean, and what Python raises for each.
///
///   code                 Python                      meaning
///   kInvalidArgument     ValueError                  the caller's argument
///   kNotFound            FileNotFoundError / KeyError no such file / key
///   kAlreadyExists       FileExistsError
///   kPermissionDenied    PermissionError
///   kResourceExhausted   OSError (ENOSPC, EDQUOT)    disk or memory is full
///   kUnknown             OSError (errno in detail)   any other failed I/O call
///   kDataLoss            CheckpointCorruptedError    stored bytes were changed
///   kDeadlineExceeded    TimeoutError
///   kAborted             CheckpointBusyError         another writer is active
///   kUnavailable         ConnectionError             a save's process is gone
///   kUnimplemented       NotImplementedError
///   kCancelled           CancelledError
///   kFailedPrecondition  RuntimeError                wrong state, missing key
///   kInternal            RuntimeError                a defect of libdcp
Status MakeStatus(absl::StatusCode code, std::string_view message);
Status InvalidArgument(std::string_view message);
Status NotFound(std::string_view message);
Status DataLoss(std::string_view message);
Status FailedPrecondition(std::string_view message);
Status Unimplemented(std::string_view message);
Status Internal(std::string_view message);

/// The message of `status` as a std::string_view into it (Abseil's own
/// string_view type may differ from the standard one).
std::string_view Message(const Status& status);

/// The parts of a failed operation, for callers that must act on them.
struct ErrorDetail {
  std::string op;    ///< the system call or step, e.g. "pwrite"
  std::string path;  ///< the file, empty if none is concerned
  std::optional<int64_t> byte_offset;
  std::optional<int64_t> nbytes;
  int error_number = 0;  ///< errno, 0 if none
  std::string fqn;       ///< the tensor or object concerned, empty if unknown

  bool operator==(const ErrorDetail&) const = default;
};

/// Builds the status of a failed call: code by errno, text
/// "pwrite /ckpt/7/__3_0.distcp [offset=4096 B, n=1048576 B]: No space left on
/// device", `detail` as payload. `detail.error_number` is set from
/// `error_number`.
Status ErrnoToStatus(int error_number, ErrorDetail detail);

/// Builds a kDataLoss status "<what>, key fqn, file path, offset" with `detail`
/// as payload.
Status CorruptionError(std::string_view what, const ErrorDetail& detail);

/// The detail that ErrnoToStatus, CorruptionError or WithDetail attached.
std::optional<ErrorDetail> GetErrorDetail(const Status& status);
Status WithDetail(Status status, const ErrorDetail& detail);

/// `status` with "<context>: " before its message; code and payloads are kept.
/// An OK status stays OK.
Status Annotate(const Status& status, std::string_view context);

/// Marks a status as "key not in the checkpoint": code kNotFound that is not
/// about a file. `key` is stored in ErrorDetail::fqn with op "lookup".
Status KeyNotFound(std::string_view key, std::string_view message);

/// The failures of several ranks in one phase of a save or a load.
///
/// A collective call that fails returns, on every rank, one status that holds
/// all of them: its code is that of the lowest failed rank.
struct RankFailures {
  std::string phase;              ///< "plan", "write", "read" as in torch
  std::map<int, Status> by_rank;  ///< rank -> its status, never OK
};
Status MakeRankFailures(const RankFailures& failures);
std::optional<RankFailures> GetRankFailures(const Status& status);

/// A status as bytes (code, message, payloads), for sending to another rank.
std::string SerializeStatus(const Status& status);
/// \error kDataLoss  `data` is not what SerializeStatus wrote. The parsed
/// status is written to `*out`.
Status ParseStatus(std::string_view data, Status* out);

}  // namespace dcp

/// Returns from the calling function when `expr` is not OK.
#define DCP_RETURN_IF_ERROR(expr)             \
  do {                                        \
    ::dcp::Status dcp_status_macro_ = (expr); \
    if (!dcp_status_macro_.ok()) {            \
      return dcp_status_macro_;               \
    }                                         \
  } while (false)

// NOLINTBEGIN(bugprone-macro-parentheses): `lhs` may be a declaration.
#define DCP_STATUS_CONCAT_INNER_(a, b) a##b
#define DCP_STATUS_CONCAT_(a, b) DCP_STATUS_CONCAT_INNER_(a, b)
#define DCP_ASSIGN_OR_RETURN_IMPL_(result, lhs, expr) \
  auto result = (expr);                               \
  if (!result.ok()) {                                 \
    return std::move(result).status();                \
  }                                                   \
  lhs = *std::move(result)

// NOLINTEND(bugprone-macro-parentheses)

/// `DCP_ASSIGN_OR_RETURN(auto x, F())`: x = value of F(), or returns its error.
#define DCP_ASSIGN_OR_RETURN(lhs, expr)                                        \
  DCP_ASSIGN_OR_RETURN_IMPL_(DCP_STATUS_CONCAT_(dcp_statusor_, __LINE__), lhs, \
                             expr)

#endif  // DCP_STATUS_H_
