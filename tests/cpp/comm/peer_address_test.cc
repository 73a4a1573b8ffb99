#include "comm/peer_address.h"

#include <catch2/catch.hpp>
#include <string>

#include "comm/peer_hello.h"
#include "comm/peer_listener.h"

namespace dcp {
namespace {

using Catch::Matchers::StartsWith;

PeerAddress SomeAddress() {
  return {.token = std::string(kTokenNbytes, 'a'),
          .host = "a host",
          .unix_name = "a name",
          .tcp = {{.ip = std::string("\x0a\0\0\1", 4), .port = 65535},
                  {.ip = std::string(16, '\1'), .port = 0}}};
}

TEST_CASE("an address is what was encoded", "[comm][peer]") {
  const StatusOr<PeerAddress> parsed = ParsePeerAddress(Encode(SomeAddress()));
  REQUIRE(parsed.ok());
  CHECK(*parsed == SomeAddress());
}

TEST_CASE("an address that was cut or has more is refused", "[comm][peer]") {
  const std::string bytes = Encode(SomeAddress());
  for (size_t nbytes = 0; nbytes < bytes.size(); ++nbytes) {
    CHECK(ParsePeerAddress(bytes.substr(0, nbytes)).status().code() ==
          absl::StatusCode::kDataLoss);
  }
  CHECK(!ParsePeerAddress(bytes + "x").ok());
}

TEST_CASE("an address with an IP of no family is refused", "[comm][peer]") {
  PeerAddress address = SomeAddress();
  address.tcp[0].ip = "12345";
  CHECK(!ParsePeerAddress(Encode(address)).ok());
}

TEST_CASE("socket addresses say where", "[comm][peer]") {
  CHECK(SocketAddress::OfUnix("name")->ToString() == "@name");
  CHECK(SocketAddress::OfTcp({.ip = std::string("\x0a\0\0\1", 4), .port = 80})
            ->ToString() == "10.0.0.1:80");
  CHECK(SocketAddress::OfTcp({.ip = std::string(15, '\0') + '\1', .port = 80})
            ->ToString() == "[::1]:80");
  CHECK(!SocketAddress::OfUnix(""));
  CHECK(SocketAddress::OfUnix(std::string(107, 'n')));
  CHECK(!SocketAddress::OfUnix(std::string(108, 'n')));
}

TEST_CASE("this host is itself, and has addresses", "[comm][peer]") {
  CHECK(!HostIdentity().empty());
  CHECK(HostIdentity() == HostIdentity());
  const std::vector<std::string> ips = HostIps();
  REQUIRE(!ips.empty());
  CHECK(ips.size() <= 16);
  const bool is_ipv4 = ips.back().size() == 4;
  CHECK(ips.back() == (is_ipv4 ? std::string("\x7f\0\0\1", 4)
                               : std::string(15, '\0') + '\1'));
}

TEST_CASE("listeners open what is asked for", "[comm][peer]") {
  const auto parsed = [](const PeerListenerOptions& options) {
    const auto listener = PeerListener::Open(options);
    REQUIRE(listener.ok());
    return *ParsePeerAddress((*listener)->address());
  };
  CHECK(parsed({.unix_socket = false}).unix_name.empty());
  CHECK(!parsed({.unix_socket = false}).tcp.empty());
  CHECK_THAT(parsed({.tcp = false}).unix_name, StartsWith("dcpcpp-"));
  CHECK(parsed({.tcp = false}).tcp.empty());
  CHECK(parsed({}).token != parsed({}).token);
  CHECK(PeerListener::Open({.unix_socket = false, .tcp = false})
            .status()
            .code() == absl::StatusCode::kInvalidArgument);
}

TEST_CASE("a hello is what was encoded, and has one size", "[comm][peer]") {
  const PeerHello hello{.token = std::string(kTokenNbytes, 't'),
                        .rank = 70000,
                        .outgoing = Summarize({1, 0, int64_t{1} << 50})};
  const std::string bytes = Encode(hello);
  REQUIRE(bytes.size() == kHelloNbytes);
  const auto parsed = ParseHello(bytes);
  REQUIRE(parsed);
  CHECK(parsed->token == hello.token);
  CHECK(parsed->rank == hello.rank);
  CHECK(parsed->outgoing == hello.outgoing);
  CHECK(!ParseHello(bytes.substr(1)));
  CHECK(!ParseHello(std::string(kHelloNbytes, 'x')));
  CHECK(EncodeWelcome(hello.outgoing).size() == kWelcomeNbytes);
  CHECK(ParseWelcome(EncodeWelcome(hello.outgoing)) == hello.outgoing);
  CHECK(!ParseWelcome(bytes.substr(0, kWelcomeNbytes)));
}

TEST_CASE("sizes in another order are another summary", "[comm][peer]") {
  CHECK(Summarize({1, 2}) == Summarize({1, 2}));
  CHECK(!(Summarize({1, 2}) == Summarize({2, 1})));
  CHECK(!(Summarize({3}) == Summarize({3, 0})));
}

TEST_CASE("a token is equal or not", "[comm][peer]") {
  CHECK(IsToken("abc", "abc"));
  CHECK(!IsToken("xbc", "abc"));
  CHECK(!IsToken("ab", "abc"));
}

}  // namespace
}  // namespace dcp
