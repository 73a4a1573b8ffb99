#include "checkpoint/saver_channel.h"

#include <poll.h>
#include <sys/socket.h>

#include <algorithm>
#include <cerrno>
#include <chrono>
#include <utility>

#include "base/wire.h"

namespace dcp {
namespace {

constexpr size_t kHeaderNbytes = 9;
constexpr size_t kPieceNbytes = size_t{1} << 20;

Status Broken(int error) {
  const Status why = ErrnoToStatus(error, {.op = "the saver's socket"});
  return MakeStatus(absl::StatusCode::kUnavailable, Message(why));
}

/// Whether `socket` is ready for `events` within `timeout`.
StatusOr<bool> AwaitReady(int socket, short events, Clock::Duration timeout) {
  const auto deadline = std::chrono::steady_clock::now() + timeout;
  while (true) {
    const auto left = std::chrono::ceil<std::chrono::milliseconds>(
        deadline - std::chrono::steady_clock::now());
    pollfd polled = {.fd = socket, .events = events, .revents = 0};
    const int ready =
        ::poll(&polled, 1,
               static_cast<int>(std::clamp<int64_t>(left.count(), 0, 60'000)));
    if (ready > 0) return true;
    if (ready < 0 && errno != EINTR) return Broken(errno);
    if (std::chrono::steady_clock::now() >= deadline) return false;
  }
}

}  // namespace

Status SaverChannel::Send(SaverMessageKind kind, std::string_view content,
                          Clock::Duration patience) {
  WireWriter header;
  header.PutU64(content.size());
  header.PutU8(static_cast<uint8_t>(kind));
  const MutexLock lock(sending_);
  DCP_RETURN_IF_ERROR(SendAll(header.data(), patience));
  return SendAll(content, patience);
}

Status SaverChannel::SendAll(std::string_view data, Clock::Duration patience) {
  while (!data.empty()) {
    const ssize_t sent =
        ::send(socket_, data.data(), data.size(), MSG_NOSIGNAL | MSG_DONTWAIT);
    if (sent >= 0) {
      data.remove_prefix(static_cast<size_t>(sent));
      continue;
    }
    if (errno == EINTR) continue;
    if (errno != EAGAIN && errno != EWOULDBLOCK) return Broken(errno);
    DCP_ASSIGN_OR_RETURN(const bool ready,
                         AwaitReady(socket_, POLLOUT, patience));
    if (!ready) {
      return MakeStatus(absl::StatusCode::kDeadlineExceeded,
                        "nobody reads the saver's socket");
    }
  }
  return absl::OkStatus();
}

StatusOr<std::optional<SaverMessage>> SaverChannel::Receive(
    Clock::Duration timeout) {
  const auto deadline = std::chrono::steady_clock::now() + timeout;
  while (true) {
    if (auto message = TakeMessage()) return message;
    DCP_ASSIGN_OR_RETURN(
        const bool ready,
        AwaitReady(socket_, POLLIN,
                   std::max(deadline - std::chrono::steady_clock::now(),
                            Clock::Duration(0))));
    if (!ready) return std::optional<SaverMessage>();
    const size_t before = received_.size();
    received_.resize(before + kPieceNbytes);
    const ssize_t got =
        ::recv(socket_, received_.data() + before, kPieceNbytes, MSG_DONTWAIT);
    received_.resize(before + static_cast<size_t>(std::max<ssize_t>(got, 0)));
    if (got == 0) return Broken(EPIPE);
    if (got < 0 && errno != EINTR && errno != EAGAIN) return Broken(errno);
  }
}

std::optional<SaverMessage> SaverChannel::TakeMessage() {
  if (received_.size() < kHeaderNbytes) return std::nullopt;
  WireReader header(received_, "a message");
  const uint64_t nbytes = header.U64();
  const auto kind = static_cast<SaverMessageKind>(header.U8());
  if (received_.size() - kHeaderNbytes < nbytes) return std::nullopt;
  const auto end = static_cast<size_t>(kHeaderNbytes + nbytes);
  SaverMessage message{.kind = kind};
  if (received_.size() == end) {
    message.content = std::exchange(received_, {});
    message.content.erase(0, kHeaderNbytes);
  } else {
    message.content = received_.substr(kHeaderNbytes, nbytes);
    received_.erase(0, end);
  }
  return message;
}

}  // namespace dcp
