// Connecting and taking in, with time that the test makes.

#include "comm/peer_caller.h"

#include <poll.h>
#include <sys/socket.h>

#include <array>
#include <catch2/catch.hpp>
#include <chrono>
#include <string>
#include <utility>
#include <vector>

#include "base/random_id.h"
#include "comm/peer_listener.h"
#include "comm/peer_reception.h"

namespace dcp {
namespace {

using Catch::Matchers::Contains;
using std::chrono::seconds;

const Clock::TimePoint kBegin{};
const std::string& Localhost() {
  static const std::string ip("\x7f\0\0\1", 4);
  return ip;
}

PeerHello SomeHello(std::string token = std::string(kTokenNbytes, 't')) {
  return {.token = std::move(token), .rank = 0, .outgoing = Summarize({5})};
}

/// How many connections `caller` has begun.
size_t Attempts(const PeerCaller& caller) {
  std::vector<pollfd> polled;
  caller.AppendPolled(polled);
  return polled.size();
}

/// Polls, and has `side`, a caller or a reception, go on.
template <typename Side>
StatusOr<bool> GoOn(Side& side, Clock::TimePoint now = kBegin) {
  std::vector<pollfd> polled;
  side.AppendPolled(polled);
  DCP_RETURN_IF_ERROR(PollOneSlice(polled).status());
  return side.Handle(polled, now);
}

/// Listens and never accepts: one that connects waits, others are refused.
struct Crowded {
  explicit Crowded(const SocketAddress& address) : listening(*Listen(address)) {
    REQUIRE(::listen(listening.get(), 0) == 0);
  }
  UniqueFd listening;
};

TEST_CASE("a rank without an address cannot be reached", "[comm][peer]") {
  PeerCaller caller(7, {.host = "another host", .unix_name = "x"}, SomeHello());
  const Status status = caller.Advance(kBegin);
  CHECK(status.code() == absl::StatusCode::kUnavailable);
  CHECK(Message(status) ==
        "rank 7 cannot be reached: it has no address that leads there");
}

TEST_CASE("a unix socket whose queue is full is tried again", "[comm][peer]") {
  const std::string name = "dcpcpp-test-" + MakeRandomHex();
  const Crowded crowded(*SocketAddress::OfUnix(name));
  const UniqueFd first =
      *std::move(*BeginConnect(*SocketAddress::OfUnix(name)));
  PeerCaller caller(7, {.host = HostIdentity(), .unix_name = name},
                    SomeHello());
  CHECK(caller.Advance(kBegin) == absl::OkStatus());
  CHECK(caller.Advance(kBegin) == absl::OkStatus());
  CHECK(Attempts(caller) == 0);
  const auto accepted = AcceptOne(crowded.listening.get());
  REQUIRE((accepted.ok() && *accepted));
  CHECK(caller.Advance(kBegin) == absl::OkStatus());
  CHECK(Attempts(caller) == 1);
}

TEST_CASE("the next address is tried while the first lets wait",
          "[comm][peer]") {
  // They are connected to, and nobody takes them in.
  const auto silent = PeerListener::Open({.unix_socket = false});
  REQUIRE(silent.ok());
  const TcpEndpoint endpoint = ParsePeerAddress((*silent)->address())->tcp[0];
  PeerCaller caller(7, {.tcp = {endpoint, endpoint}}, SomeHello());
  CHECK(caller.Advance(kBegin) == absl::OkStatus());
  while (Attempts(caller) == 1) {  // until it has said hello, after 5 s
    const auto gone_on = GoOn(caller, kBegin + seconds(5));
    REQUIRE(gone_on.ok());
    if (*gone_on) break;
  }
  CHECK(caller.Advance(kBegin + seconds(14)) == absl::OkStatus());
  CHECK(Attempts(caller) == 1);
  CHECK(caller.Advance(kBegin + seconds(15)) == absl::OkStatus());
  CHECK(Attempts(caller) == 2);
  // A connection is kept however long the peer takes.
  CHECK(caller.Advance(kBegin + seconds(16)) == absl::OkStatus());
  CHECK(Attempts(caller) == 2);
}

TEST_CASE("a host that does not answer is given up", "[comm][peer]") {
  const Crowded crowded(*SocketAddress::OfTcp({.ip = Localhost()}));
  const TcpEndpoint endpoint{.ip = Localhost(),
                             .port = *PortOf(crowded.listening.get())};
  std::vector<UniqueFd> crowd;
  for (int i = 0; i < 4; ++i) {
    crowd.push_back(*std::move(*BeginConnect(*SocketAddress::OfTcp(endpoint))));
  }
  PeerCaller caller(7, {.tcp = {endpoint}}, SomeHello());
  CHECK(caller.Advance(kBegin) == absl::OkStatus());
  CHECK(caller.Advance(kBegin + seconds(29)) == absl::OkStatus());
  const Status status = caller.Advance(kBegin + seconds(30));
  CHECK(status.code() == absl::StatusCode::kUnavailable);
  CHECK_THAT(std::string(Message(status)),
             Contains("rank 7 cannot be reached: 127.0.0.1:") &&
                 Contains("does not answer"));
}

TEST_CASE("a peer that comes by two ways is taken in once", "[comm][peer]") {
  const auto listener = PeerListener::Open();
  REQUIRE(listener.ok());
  const PeerAddress address = *ParsePeerAddress((*listener)->address());
  PeerReception reception(**listener, 1, {{0, Summarize({5})}});
  CHECK(reception.missing() == std::vector<int>{0});
  std::array<PeerCaller, 2> callers = {
      PeerCaller(1, address, SomeHello(address.token)),
      PeerCaller(1, address, SomeHello(address.token))};
  while (!callers[0].has_connected()) {
    REQUIRE(callers[0].Advance(kBegin).ok());
    REQUIRE(GoOn(callers[0]).ok());
    REQUIRE(GoOn(reception).ok());
  }
  CHECK(reception.missing().empty());
  // Every way of the second one fails, and nobody is disturbed.
  Status status;
  while (status.ok()) {
    REQUIRE(!callers[1].has_connected());
    status = callers[1].Advance(kBegin);
    REQUIRE(GoOn(callers[1]).ok());
    REQUIRE(GoOn(reception).ok());
  }
  CHECK(status.code() == absl::StatusCode::kUnavailable);
  CHECK_THAT(std::string(Message(status)), Contains("the connection was"));
  CHECK(reception.Take().size() == 1);
}

TEST_CASE("a stranger who says nothing leaves in the end", "[comm][peer]") {
  const auto listener = PeerListener::Open({.tcp = false});
  REQUIRE(listener.ok());
  const PeerAddress address = *ParsePeerAddress((*listener)->address());
  PeerReception reception(**listener, 1, {{0, Summarize({5})}});
  const auto polled_by = [&reception] {
    std::vector<pollfd> polled;
    reception.AppendPolled(polled);
    return polled.size();
  };
  const UniqueFd stranger =
      *std::move(*BeginConnect(*SocketAddress::OfUnix(address.unix_name)));
  REQUIRE(GoOn(reception).ok());
  CHECK(polled_by() == 2);
  REQUIRE(GoOn(reception, kBegin + seconds(29)).ok());
  CHECK(polled_by() == 2);
  REQUIRE(GoOn(reception, kBegin + seconds(30)).ok());
  CHECK(polled_by() == 1);
}

}  // namespace
}  // namespace dcp
