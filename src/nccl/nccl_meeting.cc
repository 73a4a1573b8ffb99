// Ranks meet over a communicator of NCCL.
//
// 1. Every call begins with an all-gather of headers: the method, the number of
//    the call, the size and the checksum of the message. It is the same
//    operation for all methods, so ranks that make different calls meet in it,
//    and all of them see the same headers and come to the same error.
// 2. Only then messages move, in rounds that fit the buffer: to and from rank
//    0, in pieces of which both ends know the size; what rank 0 scatters goes
//    behind a header for each rank. A message whose checksum differs is an
//    error.
// 3. A deadline, or an error that NCCL reports, aborts the communicator: an
//    operation that waits for a rank cannot be ended otherwise. The headers
//    that did arrive tell which ranks came.
// 4. An error that one rank alone knows of (a checksum, no memory) it tells
//    with a header, kFailure, which is left under way: the others meet it in
//    their next call.
// 5. A transport that is destroyed does so with kLeave, and waits a little. If
//    all ranks leave, the communicator is ended in good order, else aborted.

#include "nccl/nccl_meeting.h"

#include <algorithm>
#include <chrono>
#include <cstring>

#include "base/guarded.h"
#include "base/poll_pause.h"

namespace dcp {
namespace {

constexpr Clock::Duration kFarewell = std::chrono::seconds(1);

}  // namespace

NcclMeeting::~NcclMeeting() {
  // Without memory for it others find out by their deadlines.
  Guarded([this] {
    Leave();
    return absl::OkStatus();
  }).IgnoreError();
}

void NcclMeeting::Leave() {
  if (!link_->is_open()) return;
  const NcclDeadline deadline = DeadlineIn(kFarewell);
  if (failure_.ok()) {
    const NcclHeader leave{.method = NcclMethod::kLeave,
                           .sequence = ++sequence_};
    if (!BeginHeaders(leave, deadline).ok()) return;
  }
  if (!link_->Finish(deadline).ok()) return;
  const auto headers = ReadHeaders();
  const bool all_leave =
      headers.ok() && std::all_of(headers->begin(), headers->end(),
                                  [](const NcclHeader& header) {
                                    return header.method == NcclMethod::kLeave;
                                  });
  if (all_leave) link_->Close(deadline);
}

StatusOr<std::vector<NcclHeader>> NcclMeeting::Meet(NcclMethod method,
                                                    std::string_view message) {
  DCP_RETURN_IF_ERROR(failure_);
  const NcclDeadline deadline = DeadlineIn(timeout_);
  const bool waits = method == NcclMethod::kAwaitAll;
  Status met = BeginHeaders(HeaderOf(method, ++sequence_, message), deadline);
  if (met.ok()) met = link_->Finish(waits ? std::nullopt : deadline);
  if (!met.ok()) return Break(NameSilent(met, method));
  StatusOr<std::vector<NcclHeader>> headers = ReadHeaders();
  if (!headers.ok()) return Break(headers.status());
  DCP_RETURN_IF_ERROR(OrBreak(CompareHeaders(*headers)));
  return headers;
}

Status NcclMeeting::BeginHeaders(const NcclHeader& header,
                                 NcclDeadline deadline) {
  const std::span<char> host = link_->host();
  constexpr size_t kNbytes = NcclHeader::kNbytes;
  std::memset(host.data(), 0, static_cast<size_t>(size()) * kNbytes);
  WriteHeader(header,
              host.subspan(static_cast<size_t>(rank()) * kNbytes, kNbytes));
  return link_->BeginAllGather(kNbytes, deadline);
}

StatusOr<std::vector<NcclHeader>> NcclMeeting::ReadHeaders() const {
  std::vector<NcclHeader> headers;
  headers.reserve(static_cast<size_t>(size()));
  const char* at = link_->host().data();
  for (int i = 0; i < size(); ++i, at += NcclHeader::kNbytes) {
    DCP_ASSIGN_OR_RETURN(headers.emplace_back(),
                         ReadHeader({at, NcclHeader::kNbytes}, i));
  }
  return headers;
}

Status NcclMeeting::NameSilent(const Status& failure, NcclMethod method) {
  std::string text = NameOf(method);
  if (failure.code() == absl::StatusCode::kDeadlineExceeded) {
    text += " waited " + TextOf(timeout_) + " for other ranks";
  }
  std::string silent;
  const size_t nbytes = static_cast<size_t>(size()) * NcclHeader::kNbytes;
  if (link_->Fetch(nbytes).ok()) {
    const char* at = link_->host().data();
    for (int i = 0; i < size(); ++i, at += NcclHeader::kNbytes) {
      const bool is_heard = ReadHeader({at, NcclHeader::kNbytes}, i).ok();
      if (!is_heard && i != rank()) silent += " " + std::to_string(i);
    }
  }
  // NCCL passes headers on from rank to rank.
  if (!silent.empty()) {
    text += "; nothing was heard of rank(s)" + silent +
            ", of which one or more did not come, hang or are gone";
  }
  return Annotate(failure, text);
}

StatusOr<std::vector<std::string>> NcclMeeting::Collect(
    std::span<const NcclHeader> headers, std::string_view mine) {
  std::vector<std::string> messages(headers.size());
  for (size_t i = 1; i < headers.size(); ++i) {
    messages[i].resize(headers[i].nbytes);
  }
  DCP_RETURN_IF_ERROR(ReceiveRounds(messages));
  messages[0] = mine;
  for (size_t i = 1; i < headers.size(); ++i) {
    const Status checked =
        CheckMessage(headers[i], messages[i], static_cast<int>(i));
    if (!checked.ok()) return Fail(checked);
  }
  return messages;
}

Status NcclMeeting::Contribute(std::string_view message) {
  return SendRounds(std::span(&message, 1));
}

Status NcclMeeting::Distribute(std::span<const std::string> messages) {
  std::vector<std::string> headers(messages.size());
  std::vector<std::string_view> payloads(messages.begin(), messages.end());
  for (size_t i = 1; i < messages.size(); ++i) {
    headers[i].resize(NcclHeader::kNbytes);
    WriteHeader(HeaderOf(NcclMethod::kScatter, sequence_, messages[i]),
                headers[i]);
  }
  payloads[0] = {};  // rank 0 has its own
  const std::vector<std::string_view> first(headers.begin(), headers.end());
  DCP_RETURN_IF_ERROR(SendRounds(first));
  return SendRounds(payloads);
}

StatusOr<std::string> NcclMeeting::Take() {
  std::string header_bytes(NcclHeader::kNbytes, '\0');
  DCP_RETURN_IF_ERROR(ReceiveRounds(std::span(&header_bytes, 1)));
  const StatusOr<NcclHeader> header = ReadHeader(header_bytes, 0);
  if (!header.ok()) return Fail(header.status());
  std::string message(header->nbytes, '\0');
  DCP_RETURN_IF_ERROR(ReceiveRounds(std::span(&message, 1)));
  const Status checked = CheckMessage(*header, message, 0);
  if (!checked.ok()) return Fail(checked);
  return message;
}

StatusOr<std::string> NcclMeeting::Share(const NcclHeader& header,
                                         std::string_view mine) {
  const NcclDeadline deadline = DeadlineIn(timeout_);
  std::string message(rank() == 0 ? mine : std::string_view());
  message.resize(header.nbytes);
  constexpr size_t kRound = NcclLink::kBufferNbytes;
  for (size_t begin = 0; begin < message.size(); begin += kRound) {
    const size_t nbytes = std::min(kRound, message.size() - begin);
    char* const host = link_->host().data();
    if (rank() == 0) std::copy_n(message.data() + begin, nbytes, host);
    DCP_RETURN_IF_ERROR(OrBreak(link_->BeginBroadcast(nbytes, deadline)));
    DCP_RETURN_IF_ERROR(OrBreak(
        Annotate(link_->Finish(deadline), "the message of rank 0, Broadcast")));
    if (rank() != 0) std::copy_n(host, nbytes, message.data() + begin);
  }
  const Status checked = CheckMessage(header, message, 0);
  if (!checked.ok()) return Fail(checked);
  return message;
}

Status NcclMeeting::SendRounds(std::span<const std::string_view> messages) {
  std::vector<uint64_t> sizes;
  sizes.reserve(messages.size());
  for (const std::string_view message : messages) {
    sizes.push_back(message.size());
  }
  const NcclDeadline deadline = DeadlineIn(timeout_);
  for (const std::vector<NcclPiece>& round : CutIntoRounds(sizes)) {
    for (const auto& [begin, transfer] : round) {
      std::memcpy(link_->host().data() + transfer.offset,
                  messages[static_cast<size_t>(transfer.peer)].data() + begin,
                  transfer.nbytes);
    }
    const std::vector<NcclTransfer> transfers = TransfersOf(round);
    DCP_RETURN_IF_ERROR(OrBreak(link_->BeginSends(transfers, deadline)));
    DCP_RETURN_IF_ERROR(FinishRound(transfers, "sending to", deadline));
  }
  return absl::OkStatus();
}

Status NcclMeeting::ReceiveRounds(std::span<std::string> messages) {
  std::vector<uint64_t> sizes;
  sizes.reserve(messages.size());
  for (const std::string& message : messages) sizes.push_back(message.size());
  const NcclDeadline deadline = DeadlineIn(timeout_);
  for (const std::vector<NcclPiece>& round : CutIntoRounds(sizes)) {
    const std::vector<NcclTransfer> transfers = TransfersOf(round);
    DCP_RETURN_IF_ERROR(OrBreak(link_->BeginReceipts(transfers, deadline)));
    DCP_RETURN_IF_ERROR(FinishRound(transfers, "receiving from", deadline));
    for (const auto& [begin, transfer] : round) {
      std::memcpy(messages[static_cast<size_t>(transfer.peer)].data() + begin,
                  link_->host().data() + transfer.offset, transfer.nbytes);
    }
  }
  return absl::OkStatus();
}

Status NcclMeeting::FinishRound(std::span<const NcclTransfer> round,
                                const char* what, NcclDeadline deadline) {
  Status finished = link_->Finish(deadline);
  if (finished.ok()) return finished;
  std::string text = std::string(what) + " rank(s)";
  for (const NcclTransfer& transfer : round) {
    text += " " + std::to_string(transfer.peer);
  }
  return Break(Annotate(finished, text));
}

Status NcclMeeting::Check() {
  DCP_RETURN_IF_ERROR(failure_);
  return OrBreak(link_->Check());
}

Status NcclMeeting::Break(const Status& failure) {
  failure_ = failure;
  link_->Abort();
  return failure_;
}

Status NcclMeeting::Fail(const Status& failure) {
  if (!failure_.ok()) return failure_;
  failure_ = failure;
  const NcclHeader header{.method = NcclMethod::kFailure,
                          .sequence = ++sequence_,
                          .nbytes = static_cast<uint64_t>(failure.code())};
  // Who cannot be told finds out by its deadline.
  BeginHeaders(header, DeadlineIn(kFarewell)).IgnoreError();
  return failure_;
}

}  // namespace dcp
