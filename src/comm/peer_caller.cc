#include "comm/peer_caller.h"

#include <sys/socket.h>

#include <array>
#include <chrono>
#include <utility>

namespace dcp {
namespace {

// After so long the next address is tried as well.
constexpr auto kConnectImpatience = std::chrono::seconds(1);
constexpr auto kWelcomeImpatience = std::chrono::seconds(10);
// A host that does not answer at all.
constexpr auto kConnectPatience = std::chrono::seconds(30);

std::vector<SocketAddress> WaysTo(const PeerAddress& peer) {
  std::vector<SocketAddress> ways;
  if (!peer.host.empty() && peer.host == HostIdentity()) {
    const auto name = SocketAddress::OfUnix(peer.unix_name);
    if (name) ways.push_back(*name);
  }
  for (const TcpEndpoint& endpoint : peer.tcp) {
    const auto address = SocketAddress::OfTcp(endpoint);
    if (address) ways.push_back(*address);
  }
  return ways;
}

}  // namespace

PeerCaller::PeerCaller(int peer, const PeerAddress& address,
                       const PeerHello& hello)
    : peer_(peer), hello_(hello), addresses_(WaysTo(address)) {}

Status PeerCaller::Advance(Clock::TimePoint now) {
  if (has_connected()) return absl::OkStatus();
  std::erase_if(attempts_, [&](const Attempt& attempt) {
    if (attempt.is_connected || now - attempt.since < kConnectPatience) {
      return false;
    }
    NoteFailure(attempt.address,
                MakeStatus(absl::StatusCode::kUnavailable, "does not answer"));
    return true;
  });
  while (next_ < addresses_.size() && IsTimeForNext(now)) {
    DCP_ASSIGN_OR_RETURN(const bool has_begun, BeginNext(now));
    if (!has_begun) return absl::OkStatus();
  }
  if (!attempts_.empty() || next_ < addresses_.size()) return absl::OkStatus();
  return MakeStatus(
      absl::StatusCode::kUnavailable,
      "rank " + std::to_string(peer_) + " cannot be reached" +
          (failures_.empty() ? ": it has no address that leads there"
                             : failures_));
}

bool PeerCaller::IsTimeForNext(Clock::TimePoint now) const {
  if (attempts_.empty()) return true;
  const Attempt& last = attempts_.back();
  if (!last.is_connected) return now - last.since >= kConnectImpatience;
  return last.address.family() != AF_UNIX &&
         now - last.since >= kWelcomeImpatience;
}

StatusOr<bool> PeerCaller::BeginNext(Clock::TimePoint now) {
  const SocketAddress& address = addresses_[next_];
  StatusOr<std::optional<UniqueFd>> socket = BeginConnect(address);
  if (socket.status().code() == absl::StatusCode::kResourceExhausted) {
    return socket.status();
  }
  if (socket.ok() && !socket->has_value()) return false;
  ++next_;
  if (socket.ok()) {
    attempts_.push_back(
        {.socket = *std::move(*socket), .address = address, .since = now});
  } else {
    NoteFailure(address, socket.status());
  }
  return true;
}

void PeerCaller::AppendPolled(std::vector<pollfd>& polled) const {
  for (const Attempt& attempt : attempts_) {
    const short events = attempt.is_connected ? POLLIN : POLLOUT;
    polled.push_back({.fd = attempt.socket.get(), .events = events});
  }
}

StatusOr<bool> PeerCaller::Handle(std::span<const pollfd> polled,
                                  Clock::TimePoint now) {
  bool has_changed = false;
  // From the last to the first, so that those that go do not move the others.
  for (size_t i = polled.size(); i-- > 0;) {
    if (polled[i].revents == 0) continue;
    has_changed = true;
    Attempt& attempt = attempts_[i];
    Status status =
        attempt.is_connected ? ReadWelcome(attempt) : SayHello(attempt, now);
    if (has_connected()) {
      attempts_.clear();
      return true;
    }
    if (status.ok()) continue;
    if (status.code() != absl::StatusCode::kUnavailable) return status;
    NoteFailure(attempt.address, status);
    attempts_.erase(attempts_.begin() + static_cast<std::ptrdiff_t>(i));
  }
  return has_changed;
}

Status PeerCaller::SayHello(Attempt& attempt, Clock::TimePoint now) {
  DCP_RETURN_IF_ERROR(ConnectError(attempt.socket.get()));
  const std::string hello = Encode(hello_);
  DCP_ASSIGN_OR_RETURN(const size_t sent,
                       SendSome(attempt.socket.get(), hello));
  if (sent != hello.size()) {  // 64 bytes, on a connection that is empty
    return MakeStatus(absl::StatusCode::kUnavailable, "it takes nothing");
  }
  attempt.is_connected = true;
  attempt.since = now;
  return absl::OkStatus();
}

Status PeerCaller::ReadWelcome(Attempt& attempt) {
  std::array<std::byte, kWelcomeNbytes> bytes{};
  const std::span<std::byte> rest =
      std::span(bytes).first(kWelcomeNbytes - attempt.welcome.size());
  DCP_ASSIGN_OR_RETURN(const size_t received,
                       ReceiveSome(attempt.socket.get(), rest, {}));
  attempt.welcome.append(reinterpret_cast<const char*>(bytes.data()), received);
  if (attempt.welcome.size() < kWelcomeNbytes) return absl::OkStatus();
  const std::optional<TrafficSummary> expected = ParseWelcome(attempt.welcome);
  if (!expected) {
    return MakeStatus(absl::StatusCode::kUnavailable,
                      "what listens there is no rank of this save");
  }
  if (*expected != hello_.outgoing) {
    return MismatchError({.sender = hello_.rank,
                          .sent = hello_.outgoing,
                          .receiver = peer_,
                          .expected = *expected});
  }
  socket_ = std::move(attempt.socket);
  return absl::OkStatus();
}

void PeerCaller::NoteFailure(const SocketAddress& address, const Status& why) {
  failures_ += failures_.empty() ? ": " : "; ";
  failures_ += address.ToString() + ": ";
  failures_ += Message(why);
}

}  // namespace dcp
