// Whoever else connects, and ways that lead elsewhere.

#include <poll.h>

#include <array>
#include <atomic>
#include <catch2/catch.hpp>
#include <chrono>
#include <functional>
#include <memory>
#include <stdexcept>
#include <string>
#include <thread>
#include <utility>
#include <vector>

#include "comm/peer_address.h"
#include "comm/peer_exchange.h"
#include "comm/peer_hello.h"
#include "comm/peer_ranks.h"
#include "comm/peer_socket.h"
#include "conformance/transport_conformance.h"

namespace dcp {
namespace {

using Catch::Matchers::Contains;
using namespace dcp::testing;  // NOLINT: helpers of these tests only

std::string Text(const Status& status) { return std::string(Message(status)); }

TcpEndpoint LoopbackOf(const PeerAddress& address) {
  for (const TcpEndpoint& endpoint : address.tcp) {
    if (endpoint.ip == std::string("\x7f\0\0\1", 4)) return endpoint;
  }
  throw std::runtime_error("no 127.0.0.1");
}

/// Both ways to a rank.
std::vector<SocketAddress> WaysTo(const std::string& address) {
  const PeerAddress parsed = *ParsePeerAddress(address);
  return {*SocketAddress::OfUnix(parsed.unix_name),
          *SocketAddress::OfTcp(LoopbackOf(parsed))};
}

/// Connects and says `text`.
UniqueFd ConnectAndSay(const SocketAddress& address, std::string_view text) {
  UniqueFd socket = *std::move(*BeginConnect(address));
  pollfd polled{.fd = socket.get(), .events = POLLOUT};
  while (polled.revents == 0) {
    if (!PollOneSlice(std::span(&polled, 1)).ok()) break;
  }
  if (!text.empty()) SendSome(socket.get(), text).status().IgnoreError();
  return socket;
}

/// Waits until the other end has hung up; without a word, returns true.
bool IsHungUpOnSilently(const UniqueFd& socket) {
  std::array<std::byte, 1> byte{};
  while (true) {
    const StatusOr<size_t> received = ReceiveSome(socket.get(), byte, {});
    if (!received.ok()) return true;
    if (*received > 0) return false;
    pollfd polled{.fd = socket.get(), .events = POLLIN};
    if (!PollOneSlice(std::span(&polled, 1)).ok()) return false;
  }
}

std::string HelloWithToken(char digit) {
  return Encode(PeerHello{.token = std::string(kTokenNbytes, digit),
                          .rank = 0,
                          .outgoing = Summarize({5})});
}

/// What strangers say.
const std::vector<std::string>& Sayings() {
  static const std::vector<std::string> sayings = {
      "",
      "x",
      "GET / HTTP/1.1\r\nHost: localhost\r\n\r\n",
      std::string(200, '\xff'),
      HelloWithToken('0'),
      HelloWithToken('0').substr(0, 40)};
  return sayings;
}

TEST_CASE("strangers that came before a peer do not disturb", "[comm][peer]") {
  const TrafficSizes sizes = RandomSizes(3, 5, 10'000);
  Listeners listeners = OpenListeners(3);
  const auto addresses = AddressesOf(listeners);
  std::vector<UniqueFd> strangers;
  for (const SocketAddress& way : WaysTo(addresses[1])) {
    for (const std::string& saying : Sayings()) {
      strangers.push_back(ConnectAndSay(way, saying));
    }
    for (int i = 0; i < 100; ++i) strangers.push_back(ConnectAndSay(way, ""));
  }
  RequireAllOk(OnRanks(3, [&](int rank) {
    return RunRank(std::move(listeners[static_cast<size_t>(rank)]),
                   TrafficOf(rank, sizes, addresses), sizes, {.rank = rank});
  }));
  for (const UniqueFd& stranger : strangers) {
    CHECK(IsHungUpOnSilently(stranger));
  }
}

TEST_CASE("strangers are hung up on while a rank waits for a peer",
          "[comm][peer]") {
  const TrafficSizes sizes = OneWay({5});
  Listeners listeners = OpenListeners(2);
  const auto addresses = AddressesOf(listeners);
  std::atomic<bool> has_hung_up = false;
  const auto statuses = OnRanks(2, [&](int rank) -> Status {
    std::vector<UniqueFd> silent;
    if (rank == 0) {  // before it connects itself
      for (const SocketAddress& way : WaysTo(addresses[1])) {
        for (int i = 0; i < 100; ++i) silent.push_back(ConnectAndSay(way, ""));
        for (const std::string& saying : Sayings()) {
          if (saying.size() < kHelloNbytes) continue;
          if (!IsHungUpOnSilently(ConnectAndSay(way, saying))) {
            return Internal("a stranger was answered");
          }
        }
      }
      // There is room for some only.
      if (!IsHungUpOnSilently(silent.front())) {
        return Internal("a stranger was answered");
      }
      has_hung_up = true;
    }
    return RunRank(std::move(listeners[static_cast<size_t>(rank)]),
                   TrafficOf(rank, sizes, addresses), sizes, {.rank = rank});
  });
  RequireAllOk(statuses);
  CHECK(has_hung_up);
}

/// An exchange of two ranks in which rank 0 is given `address` for rank 1.
std::vector<Status> ExchangeBy(
    const TrafficSizes& sizes,
    const std::function<std::string(PeerAddress)>& change) {
  Listeners listeners = OpenListeners(2);
  const std::vector<std::string> right = AddressesOf(listeners);
  const std::vector<std::string> changed = {
      right[0], change(*ParsePeerAddress(right[1]))};
  return OnRanks(2, [&](int rank) {
    return RunRank(std::move(listeners[static_cast<size_t>(rank)]),
                   TrafficOf(rank, sizes, rank == 0 ? changed : right), sizes,
                   {.rank = rank});
  });
}

TEST_CASE("a rank on a host that only looks like this one is found by TCP",
          "[comm][peer]") {
  RequireAllOk(ExchangeBy(OneWay({5}), [](PeerAddress address) {
    address.unix_name = "dcpcpp-nobody";
    return Encode(address);
  }));
}

TEST_CASE("an address that leads to another rank is passed over",
          "[comm][peer]") {
  // As that of a bridge, which many hosts have. Rank 2 sends nothing, but waits
  // for rank 1, so it hears who comes meanwhile.
  TrafficSizes sizes(3, std::vector<std::vector<int64_t>>(3));
  sizes[0][1] = {5};
  sizes[1][2] = {6};
  Listeners listeners = OpenListeners(3, {.unix_socket = false});
  const auto right = AddressesOf(listeners);
  PeerAddress address = *ParsePeerAddress(right[1]);
  address.tcp = {LoopbackOf(*ParsePeerAddress(right[2])), LoopbackOf(address)};
  const std::vector<std::string> changed = {right[0], Encode(address),
                                            right[2]};
  RequireAllOk(OnRanks(3, [&](int rank) {
    if (rank == 1) {  // after rank 0 has tried rank 2
      MakeSystemClock()->SleepFor(std::chrono::milliseconds(100));
    }
    return RunRank(std::move(listeners[static_cast<size_t>(rank)]),
                   TrafficOf(rank, sizes, rank == 0 ? changed : right), sizes,
                   {.rank = rank});
  }));
}

/// Passes on what it gets, in both ways, but for one byte.
class Proxy {
 public:
  /// To `target`; byte `flipped` of what comes from there is damaged.
  Proxy(const TcpEndpoint& target, size_t flipped)
      : target_(*SocketAddress::OfTcp(target)),
        flipped_(flipped),
        listening_(*Listen(
            *SocketAddress::OfTcp({.ip = std::string("\x7f\0\0\1", 4)}))),
        thread_([this] { Run(); }) {}
  ~Proxy() {
    ends_ = true;
    thread_.join();
  }
  Proxy(const Proxy&) = delete;
  Proxy& operator=(const Proxy&) = delete;

  TcpEndpoint endpoint() const {
    return {.ip = std::string("\x7f\0\0\1", 4),
            .port = *PortOf(listening_.get())};
  }

 private:
  void Run() {
    UniqueFd near;
    while (!near.ok() && !ends_) {
      pollfd polled{.fd = listening_.get(), .events = POLLIN};
      if (!PollOneSlice(std::span(&polled, 1)).ok()) return;
      auto accepted = AcceptOne(listening_.get());
      if (accepted.ok() && *accepted) near = *std::move(*accepted);
    }
    if (!near.ok()) return;
    const UniqueFd far = ConnectAndSay(target_, "");
    while (!ends_) {
      std::array<pollfd, 2> polled = {{{.fd = near.get(), .events = POLLIN},
                                       {.fd = far.get(), .events = POLLIN}}};
      if (!PollOneSlice(polled).ok()) return;
      if (!PassOn(near.get(), far.get(), &passed_)) return;
      if (!PassOn(far.get(), near.get(), nullptr)) return;
    }
  }

  /// Counts, and damages, where `passed` is given.
  bool PassOn(int from, int to, size_t* passed) const {
    std::array<std::byte, 4096> bytes{};
    const StatusOr<size_t> received = ReceiveSome(from, bytes, {});
    if (!received.ok()) return false;
    if (passed != nullptr) {
      if (flipped_ >= *passed && flipped_ < *passed + *received) {
        bytes[flipped_ - *passed] ^= std::byte{1};
      }
      *passed += *received;
    }
    auto rest = std::span(bytes).first(*received);
    while (!rest.empty() && !ends_) {
      const StatusOr<size_t> sent =
          SendSome(to, std::span<const std::byte>(rest));
      if (!sent.ok()) return false;
      rest = rest.subspan(*sent);
    }
    return true;
  }

  const SocketAddress target_;
  const size_t flipped_;
  const UniqueFd listening_;
  std::atomic<bool> ends_ = false;
  size_t passed_ = 0;  // of the thread
  std::thread thread_;
};

TEST_CASE("a byte that was damaged on the way is found", "[comm][peer]") {
  // In the first message, in its checksum, and in the second one; the last
  // place is past everything.
  const size_t place = GENERATE(0, 999, 1000, 1003, 1004, 2003, 9999);
  std::unique_ptr<Proxy> proxy;
  const auto statuses =
      ExchangeBy(OneWay({1000, 1000}), [&](const PeerAddress& address) {
        proxy =
            std::make_unique<Proxy>(LoopbackOf(address), kHelloNbytes + place);
        return Encode(
            PeerAddress{.token = address.token, .tcp = {proxy->endpoint()}});
      });
  if (place == 9999) return RequireAllOk(statuses);
  const std::string number = place < 1004 ? "0" : "1";
  CHECK(statuses[1].code() == absl::StatusCode::kDataLoss);
  CHECK_THAT(Text(statuses[1]),
             Contains("what came from rank 0 is not what it sent, by its "
                      "CRC-32 (message " +
                      number + " of 2, 1000 of 1000 bytes of it)"));
  CHECK(statuses[0].code() == absl::StatusCode::kUnavailable);
}

}  // namespace
}  // namespace dcp
