#include "comm/peer_outbox.h"

#include <algorithm>
#include <array>
#include <cstring>
#include <utility>

#include "base/checksum.h"
#include "comm/peer_hello.h"
#include "comm/peer_socket.h"

namespace dcp {
namespace {

/// A message in memory that is as large is not copied.
constexpr size_t kMinDirectNbytes = size_t{64} << 10;
/// Of such a message at a time: while it is sent its checksum has just been
/// made, so it is in the cache.
constexpr size_t kDirectNbytes = size_t{1} << 20;

/// What all `sizes` are on the wire.
size_t WireNbytes(const std::vector<int64_t>& sizes) {
  size_t nbytes = 0;
  for (const int64_t size : sizes) {
    nbytes += static_cast<size_t>(size) + kChecksumNbytes;
  }
  return nbytes;
}

}  // namespace

PeerOutbox::PeerOutbox(Options options, MessageSource& source)
    : options_(std::move(options)),
      source_(source),
      silence_(options_.timeout),
      buffer_nbytes_(
          std::min(options_.buffer_nbytes, WireNbytes(options_.sizes))) {
  SkipEmpty();
}

void PeerOutbox::SkipEmpty() {
  while (message_ < options_.sizes.size() && message_nbytes() == 0) ++message_;
}

pollfd PeerOutbox::polled() const {
  // POLLRDHUP: it is not to end before it has everything.
  const short events = has_sent_all() ? POLLIN : POLLOUT | POLLRDHUP;
  return {.fd = options_.socket, .events = events};
}

Status PeerOutbox::GoOn(short revents, Clock::Duration waited) {
  silence_.Add(waited);
  if (revents != 0) {
    DCP_RETURN_IF_ERROR(has_sent_all() ? AwaitReceipt() : Send(revents));
  }
  if (is_done_ || !silence_.is_too_long()) return absl::OkStatus();
  return MakeStatus(absl::StatusCode::kDeadlineExceeded,
                    "rank " + std::to_string(options_.peer) +
                        " takes nothing: " + silence_.ToString() + " (" +
                        Position() + ")");
}

Status PeerOutbox::Send(short revents) {
  if ((revents & POLLRDHUP) != 0) {
    return Ended(MakeStatus(absl::StatusCode::kUnavailable,
                            "the connection was closed"));
  }
  if (ready_.empty()) DCP_RETURN_IF_ERROR(Refill());
  while (!ready_.empty()) {
    const StatusOr<size_t> sent = SendSome(options_.socket, ready_);
    if (!sent.ok()) return Ended(sent.status());
    if (*sent == 0) break;
    ready_ = ready_.subspan(*sent);
    silence_.Break();
  }
  return absl::OkStatus();
}

Status PeerOutbox::AwaitReceipt() {
  std::array<std::byte, kReceipt.size()> receipt{};
  const StatusOr<size_t> received = ReceiveSome(options_.socket, receipt, {});
  if (!received.ok()) return Ended(received.status());
  is_done_ = *received > 0;
  if (is_done_) buffer_.reset();
  return absl::OkStatus();
}

Status PeerOutbox::Refill() {
  if (!buffer_) {
    buffer_ = std::make_unique_for_overwrite<std::byte[]>(buffer_nbytes_);
  }
  used_ = 0;
  while (message_ < options_.sizes.size()) {
    DCP_RETURN_IF_ERROR(AskForWhole());
    const bool is_direct = whole_.size() >= kMinDirectNbytes;
    const bool is_at_end = taken_ == message_nbytes();
    if (is_direct && !is_at_end) {
      if (used_ > 0) break;  // what is in the buffer goes first
      TakeFromMemory();
      return absl::OkStatus();
    }
    if (room() < (is_at_end ? kChecksumNbytes : 1)) break;
    if (is_at_end) {
      AppendChecksum();
    } else {
      DCP_RETURN_IF_ERROR(AppendToBuffer());
    }
  }
  ready_ = std::span(buffer_.get(), used_);
  return absl::OkStatus();
}

Status PeerOutbox::AskForWhole() {
  if (taken_ > 0) return absl::OkStatus();
  whole_ = source_.Whole(options_.peer, message_);
  if (whole_.empty() ||
      whole_.size() == static_cast<size_t>(message_nbytes())) {
    return absl::OkStatus();
  }
  return Internal("message " + std::to_string(message_) + " for rank " +
                  std::to_string(options_.peer) + " has " +
                  std::to_string(whole_.size()) + " bytes in memory, not " +
                  std::to_string(message_nbytes()));
}

void PeerOutbox::TakeFromMemory() {
  const auto rest = whole_.subspan(static_cast<size_t>(taken_));
  ready_ = rest.first(std::min(rest.size(), kDirectNbytes));
  crc_ = Crc32(crc_, ready_);
  taken_ += static_cast<int64_t>(ready_.size());
}

Status PeerOutbox::AppendToBuffer() {
  const auto rest = static_cast<size_t>(message_nbytes() - taken_);
  const auto out = std::span(buffer_.get() + used_, std::min(rest, room()));
  if (whole_.empty()) {
    const Status read = source_.Read(options_.peer, message_, taken_, out);
    if (!read.ok()) {
      return Annotate(read, "message " + std::to_string(message_) +
                                " for rank " + std::to_string(options_.peer));
    }
  } else {
    std::memcpy(out.data(), whole_.data() + taken_, out.size());
  }
  crc_ = Crc32(crc_, out);
  taken_ += static_cast<int64_t>(out.size());
  used_ += out.size();
  return absl::OkStatus();
}

void PeerOutbox::AppendChecksum() {
  static_assert(sizeof(crc_) == kChecksumNbytes);
  std::memcpy(buffer_.get() + used_, &crc_, sizeof(crc_));
  used_ += sizeof(crc_);
  ++message_;
  SkipEmpty();
  taken_ = 0;
  crc_ = 0;
  whole_ = {};
}

Status PeerOutbox::Ended(const Status& why) const {
  return Annotate(why, "rank " + std::to_string(options_.peer) +
                           " ended the exchange before it had received "
                           "everything (" +
                           Position() + ")");
}

std::string PeerOutbox::Position() const {
  return std::to_string(message_) + " of " +
         std::to_string(options_.sizes.size()) + " messages sent";
}

}  // namespace dcp
