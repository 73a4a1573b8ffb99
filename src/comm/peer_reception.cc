#include "comm/peer_reception.h"

#include <array>
#include <chrono>
#include <cstddef>
#include <optional>
#include <utility>

#include "comm/peer_socket.h"

namespace dcp {
namespace {

constexpr size_t kMaxStrangers = 64;
constexpr auto kPatience = std::chrono::seconds(30);
/// Before those that are here are heard again.
constexpr int kAcceptsInARow = 64;

}  // namespace

PeerReception::PeerReception(const PeerListener& listener, int rank,
                             std::map<int, TrafficSummary> expected)
    : listener_(listener), rank_(rank), expected_(std::move(expected)) {}

std::vector<int> PeerReception::missing() const {
  std::vector<int> ranks;
  for (const auto& [rank, summary] : expected_) {
    if (!arrived_.contains(rank)) ranks.push_back(rank);
  }
  return ranks;
}

size_t PeerReception::MaxGuests() const {
  return expected_.size() - arrived_.size() + kMaxStrangers;
}

void PeerReception::AppendPolled(std::vector<pollfd>& polled) const {
  for (const Guest& guest : guests_) {
    polled.push_back({.fd = guest.socket.get(), .events = POLLIN});
  }
  for (const UniqueFd& socket : listener_.sockets()) {
    polled.push_back({.fd = socket.get(), .events = POLLIN});
  }
}

StatusOr<bool> PeerReception::Handle(std::span<const pollfd> polled,
                                     Clock::TimePoint now) {
  const size_t arrived = arrived_.size();
  std::deque<Guest> guests = std::exchange(guests_, {});
  for (size_t i = 0; i < guests.size(); ++i) {
    Guest& guest = guests[i];
    const bool may_stay =
        polled[i].revents == 0 ? now - guest.since < kPatience : Hear(guest);
    if (guest.hello.size() == kHelloNbytes) {
      DCP_RETURN_IF_ERROR(Judge(guest));
    } else if (may_stay) {
      guests_.push_back(std::move(guest));
    }
  }
  for (const pollfd& listening : polled.subspan(guests.size())) {
    if (listening.revents == 0) continue;
    DCP_RETURN_IF_ERROR(Accept(listening.fd, now));
  }
  return arrived_.size() != arrived;
}

Status PeerReception::Accept(int listening, Clock::TimePoint now) {
  for (int i = 0; i < kAcceptsInARow; ++i) {
    StatusOr<std::optional<UniqueFd>> socket = AcceptOne(listening);
    if (!socket.ok()) {
      // Strangers may have taken the descriptors.
      if (guests_.empty()) return std::move(socket).status();
      guests_.pop_front();
      return absl::OkStatus();
    }
    std::optional<UniqueFd> guest = *std::move(socket);
    if (!guest) return absl::OkStatus();
    guests_.push_back({.socket = *std::move(guest), .since = now});
    if (guests_.size() > MaxGuests()) guests_.pop_front();
  }
  return absl::OkStatus();
}

bool PeerReception::Hear(Guest& guest) {
  std::array<std::byte, kHelloNbytes> bytes{};
  const std::span<std::byte> rest =
      std::span(bytes).first(kHelloNbytes - guest.hello.size());
  const StatusOr<size_t> received = ReceiveSome(guest.socket.get(), rest, {});
  if (!received.ok()) return false;
  guest.hello.append(reinterpret_cast<const char*>(bytes.data()), *received);
  return true;
}

Status PeerReception::Judge(Guest& guest) {
  const std::optional<PeerHello> hello = ParseHello(guest.hello);
  if (!hello || !IsToken(hello->token, listener_.token())) {
    return absl::OkStatus();
  }
  // A peer may come by two ways at once; the first one is taken.
  if (arrived_.contains(hello->rank)) return absl::OkStatus();
  const auto found = expected_.find(hello->rank);
  const TrafficSummary expected =
      found == expected_.end() ? Summarize({}) : found->second;
  const StatusOr<size_t> sent =
      SendSome(guest.socket.get(), EncodeWelcome(expected));
  if (expected != hello->outgoing) {
    return MismatchError({.sender = hello->rank,
                          .sent = hello->outgoing,
                          .receiver = rank_,
                          .expected = expected});
  }
  // It has gone meanwhile; if it is alive, it comes another way.
  if (!sent.ok() || *sent != kWelcomeNbytes) return absl::OkStatus();
  arrived_.emplace(hello->rank, std::move(guest.socket));
  return absl::OkStatus();
}

}  // namespace dcp
