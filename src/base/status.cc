#include "dcp/status.h"

#include <cerrno>
#include <cstring>
#include <string>
#include <utility>

#include "absl/strings/cord.h"
#include "base/wire.h"

namespace dcp {
namespace {

constexpr char kDetailUrl[] = "dcp.ErrorDetail";
constexpr char kFailuresUrl[] = "dcp.RankFailures";

absl::string_view ToAbsl(std::string_view text) {
  return {text.data(), text.size()};
}

absl::StatusCode CodeForErrno(int error_number) {
  switch (error_number) {
    case ENOENT:
    case ENOTDIR:
      return absl::StatusCode::kNotFound;
    case EEXIST:
      return absl::StatusCode::kAlreadyExists;
    case EACCES:
    case EPERM:
    case EROFS:
      return absl::StatusCode::kPermissionDenied;
    case ENOSPC:
    case EDQUOT:
    case EFBIG:
    case ENOMEM:
    case EMFILE:
    case ENFILE:
      return absl::StatusCode::kResourceExhausted;
    case ETIMEDOUT:
      return absl::StatusCode::kDeadlineExceeded;
    default:
      return absl::StatusCode::kUnknown;
  }
}

std::string Encode(const ErrorDetail& detail) {
  WireWriter out;
  out.PutString(detail.op);
  out.PutString(detail.path);
  out.PutSigned(detail.byte_offset.value_or(-1));
  out.PutSigned(detail.nbytes.value_or(-1));
  out.PutSigned(detail.error_number);
  out.PutString(detail.fqn);
  return std::move(out).Take();
}

std::optional<ErrorDetail> DecodeDetail(std::string_view data) {
  WireReader in(data, "error detail");
  ErrorDetail detail;
  detail.op = in.String();
  detail.path = in.String();
  if (int64_t value = in.Signed(); value >= 0) detail.byte_offset = value;
  if (int64_t value = in.Signed(); value >= 0) detail.nbytes = value;
  detail.error_number = static_cast<int>(in.Signed());
  detail.fqn = in.String();
  if (!in.Finish().ok()) return std::nullopt;
  return detail;
}

std::string DescribeRange(const ErrorDetail& detail) {
  if (!detail.byte_offset && !detail.nbytes) return "";
  std::string text = " [";
  if (detail.byte_offset) {
    text += "offset=" + std::to_string(*detail.byte_offset) + " B";
  }
  if (detail.nbytes) {
    if (detail.byte_offset) text += ", ";
    text += "n=" + std::to_string(*detail.nbytes) + " B";
  }
  return text + "]";
}

/// The payload under `url` as one string.
std::optional<std::string> Payload(const Status& status, const char* url) {
  auto payload = status.GetPayload(url);
  if (!payload.has_value()) return std::nullopt;
  return std::string(*payload);
}

}  // namespace

Status MakeStatus(absl::StatusCode code, std::string_view message) {
  return Status(code, ToAbsl(message));
}
Status InvalidArgument(std::string_view message) {
  return MakeStatus(absl::StatusCode::kInvalidArgument, message);
}
Status NotFound(std::string_view message) {
  return MakeStatus(absl::StatusCode::kNotFound, message);
}
Status DataLoss(std::string_view message) {
  return MakeStatus(absl::StatusCode::kDataLoss, message);
}
Status FailedPrecondition(std::string_view message) {
  return MakeStatus(absl::StatusCode::kFailedPrecondition, message);
}
Status Unimplemented(std::string_view message) {
  return MakeStatus(absl::StatusCode::kUnimplemented, message);
}
Status Internal(std::string_view message) {
  return MakeStatus(absl::StatusCode::kInternal, message);
}

std::string_view Message(const Status& status) {
  absl::string_view message = status.message();
  return {message.data(), message.size()};
}

Status ErrnoToStatus(int error_number, ErrorDetail detail) {
  detail.error_number = error_number;
  std::string text = detail.op;
  if (!detail.path.empty()) text += " " + detail.path;
  text += DescribeRange(detail) + ": " + std::strerror(error_number);
  if (!detail.fqn.empty()) text += " (while handling " + detail.fqn + ")";
  return WithDetail(MakeStatus(CodeForErrno(error_number), text), detail);
}

Status CorruptionError(std::string_view what, const ErrorDetail& detail) {
  std::string text(what);
  if (!detail.fqn.empty()) text += ", key " + detail.fqn;
  if (!detail.path.empty()) text += ", file " + detail.path;
  text += DescribeRange(detail);
  return WithDetail(DataLoss(text), detail);
}

std::optional<ErrorDetail> GetErrorDetail(const Status& status) {
  std::optional<std::string> payload = Payload(status, kDetailUrl);
  if (!payload) return std::nullopt;
  return DecodeDetail(*payload);
}

Status WithDetail(Status status, const ErrorDetail& detail) {
  if (!status.ok()) status.SetPayload(kDetailUrl, absl::Cord(Encode(detail)));
  return status;
}

Status Annotate(const Status& status, std::string_view context) {
  if (status.ok()) return status;
  std::string text(context);
  text += ": ";
  text += Message(status);
  Status annotated = MakeStatus(status.code(), text);
  status.ForEachPayload([&](absl::string_view url, const absl::Cord& payload) {
    annotated.SetPayload(url, payload);
  });
  return annotated;
}

Status KeyNotFound(std::string_view key, std::string_view message) {
  return WithDetail(NotFound(message),
                    {.op = "lookup", .fqn = std::string(key)});
}

Status MakeRankFailures(const RankFailures& failures) {
  WireWriter out;
  out.PutString(failures.phase);
  out.PutVarint(failures.by_rank.size());
  std::string text = "phase '" + failures.phase + "' failed on " +
                     std::to_string(failures.by_rank.size()) + " rank(s)";
  for (const auto& [rank, status] : failures.by_rank) {
    out.PutVarint(static_cast<uint64_t>(rank));
    out.PutString(SerializeStatus(status));
    text += "; rank " + std::to_string(rank) + ": ";
    text += Message(status);
  }
  const absl::StatusCode code = failures.by_rank.empty()
                                    ? absl::StatusCode::kInternal
                                    : failures.by_rank.begin()->second.code();
  Status status = MakeStatus(code, text);
  status.SetPayload(kFailuresUrl, absl::Cord(std::move(out).Take()));
  return status;
}

std::optional<RankFailures> GetRankFailures(const Status& status) {
  std::optional<std::string> payload = Payload(status, kFailuresUrl);
  if (!payload) return std::nullopt;
  WireReader in(*payload, "rank failures");
  RankFailures failures;
  failures.phase = in.String();
  const size_t count = in.Count(2);
  for (size_t i = 0; in.ok() && i < count; ++i) {
    const int rank = static_cast<int>(in.Varint());
    Status parsed;
    if (!ParseStatus(in.String(), &parsed).ok()) return std::nullopt;
    failures.by_rank.emplace(rank, std::move(parsed));
  }
  if (!in.Finish().ok()) return std::nullopt;
  return failures;
}

std::string SerializeStatus(const Status& status) {
  WireWriter payloads;
  uint64_t count = 0;
  status.ForEachPayload([&](absl::string_view url, const absl::Cord& payload) {
    payloads.PutString({url.data(), url.size()});
    payloads.PutString(std::string(payload));
    ++count;
  });
  WireWriter out;
  out.PutVarint(static_cast<uint64_t>(status.code()));
  out.PutString(Message(status));
  out.PutVarint(count);
  return std::move(out).Take() + std::move(payloads).Take();
}

Status ParseStatus(std::string_view data, Status* out) {
  WireReader in(data, "serialized status");
  const uint64_t code = in.Varint();
  if (code > static_cast<uint64_t>(absl::StatusCode::kUnauthenticated)) {
    in.Fail();
  }
  Status parsed = MakeStatus(static_cast<absl::StatusCode>(code), in.String());
  const size_t count = in.Count(2);
  for (size_t i = 0; in.ok() && i < count; ++i) {
    const std::string_view url = in.String();
    const std::string_view payload = in.String();
    parsed.SetPayload(ToAbsl(url), absl::Cord(ToAbsl(payload)));
  }
  DCP_RETURN_IF_ERROR(in.Finish());
  *out = std::move(parsed);
  return absl::OkStatus();
}

}  // namespace dcp
