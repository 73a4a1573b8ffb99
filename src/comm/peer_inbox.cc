#include "comm/peer_inbox.h"

#include <poll.h>

#include <algorithm>
#include <array>
#include <cstring>
#include <utility>

#include "base/checksum.h"
#include "comm/peer_hello.h"
#include "comm/peer_socket.h"

namespace dcp {
namespace {

/// Received at once, so that it is in the cache when it is checksummed.
constexpr size_t kPieceNbytes = size_t{1} << 20;

}  // namespace

PeerInbox::PeerInbox(int rank, UniqueFd socket, std::vector<int64_t> sizes,
                     Clock::Duration timeout)
    : rank_(rank),
      socket_(std::move(socket)),
      sizes_(std::move(sizes)),
      timeout_(timeout),
      next_(SkipEmpty(0)) {
  Acknowledge(SkipEmpty(0));
}

PeerInbox::~PeerInbox() { EndSocket(socket_.get()); }

size_t PeerInbox::SkipEmpty(size_t number) const {
  while (number < sizes_.size() && sizes_[number] == 0) ++number;
  return number;
}

void PeerInbox::Acknowledge(size_t next) const {
  if (next < sizes_.size()) return;
  // A peer that is gone has nothing to wait for.
  SendSome(socket_.get(), kReceipt).status().IgnoreError();
}

Status PeerInbox::Receive(size_t number, std::span<std::byte> out) {
  DCP_RETURN_IF_ERROR(CheckArguments(number, out));
  if (out.empty()) {
    const MutexLock lock(mutex_);
    return failure_;
  }
  DCP_RETURN_IF_ERROR(AwaitTurn(number));
  return EndTurn(Read(number, out));
}

void PeerInbox::Cancel(const Status& why) {
  const MutexLock lock(mutex_);
  if (failure_.ok()) failure_ = why;
  EndSocket(socket_.get());
  changed_.NotifyAll();
}

Status PeerInbox::CheckArguments(size_t number,
                                 std::span<std::byte> out) const {
  const std::string whose = " of rank " + std::to_string(rank_);
  if (number >= sizes_.size()) {
    return InvalidArgument("there is no message " + std::to_string(number) +
                           whose + ", which sends " +
                           std::to_string(sizes_.size()) + " of them");
  }
  const auto nbytes = static_cast<size_t>(sizes_[number]);
  if (out.size() == nbytes) return absl::OkStatus();
  return InvalidArgument("message " + std::to_string(number) + whose + " has " +
                         std::to_string(nbytes) + " bytes, not " +
                         std::to_string(out.size()));
}

Status PeerInbox::AwaitTurn(size_t number) {
  const MutexLock lock(mutex_);
  while (failure_.ok() && (next_ < number || (next_ == number && is_taken_))) {
    changed_.Wait(mutex_);
  }
  if (!failure_.ok()) return failure_;
  if (next_ > number) {
    return InvalidArgument("message " + std::to_string(number) + " of rank " +
                           std::to_string(rank_) + " was received before");
  }
  is_taken_ = true;
  return absl::OkStatus();
}

Status PeerInbox::EndTurn(const Status& status) {
  const MutexLock lock(mutex_);
  is_taken_ = false;
  if (failure_.ok()) failure_ = status;
  changed_.NotifyAll();
  if (!failure_.ok()) return failure_;
  next_ = SkipEmpty(next_ + 1);
  Acknowledge(next_);
  return absl::OkStatus();
}

Status PeerInbox::Read(size_t number, std::span<std::byte> out) const {
  std::array<std::byte, kChecksumNbytes> checksum{};
  Silence silence(timeout_);
  Progress progress{.number = number};
  uint32_t crc = 0;
  while (progress.received < out.size() + checksum.size()) {
    const size_t at = std::min(progress.received, out.size());
    const auto piece = out.subspan(at, std::min(out.size() - at, kPieceNbytes));
    const bool is_last = at + piece.size() == out.size();
    const auto rest = std::span(checksum).subspan(progress.received - at);
    const StatusOr<size_t> more = ReceiveSome(
        socket_.get(), piece, is_last ? rest : std::span<std::byte>());
    if (!more.ok()) {
      return Annotate(
          more.status(),
          "rank " + std::to_string(rank_) +
              " ended the exchange before it had sent everything (" +
              ToString(progress) + ")");
    }
    if (*more == 0) {
      DCP_RETURN_IF_ERROR(AwaitMore(progress, silence));
      continue;
    }
    silence.Break();
    crc = Crc32(crc, piece.first(std::min(*more, piece.size())));
    progress.received += *more;
  }
  uint32_t sent = 0;
  std::memcpy(&sent, checksum.data(), sizeof(sent));
  if (sent == crc) return absl::OkStatus();
  return DataLoss("what came from rank " + std::to_string(rank_) +
                  " is not what it sent, by its CRC-32 (" + ToString(progress) +
                  "): save again, and see whether memory or network is bad");
}

Status PeerInbox::AwaitMore(const Progress& progress, Silence& silence) const {
  pollfd polled{.fd = socket_.get(), .events = POLLIN};
  DCP_ASSIGN_OR_RETURN(const Clock::Duration waited,
                       PollOneSlice(std::span(&polled, 1)));
  silence.Add(waited);
  if (polled.revents != 0 || !silence.is_too_long()) return absl::OkStatus();
  return MakeStatus(absl::StatusCode::kDeadlineExceeded,
                    "rank " + std::to_string(rank_) + " sends nothing: " +
                        silence.ToString() + " (" + ToString(progress) + ")");
}

std::string PeerInbox::ToString(const Progress& progress) const {
  const auto nbytes = static_cast<size_t>(sizes_[progress.number]);
  return "message " + std::to_string(progress.number) + " of " +
         std::to_string(sizes_.size()) + ", " +
         std::to_string(std::min(progress.received, nbytes)) + " of " +
         std::to_string(nbytes) + " bytes of it";
}

}  // namespace dcp
