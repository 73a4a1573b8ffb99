// Ranks that send each other tensors: addresses, and what is said when they
// connect; whatever is accepted can be said again.

#include <string_view>

#include "comm/peer_address.h"
#include "comm/peer_hello.h"
#include "fuzz/fuzz_target.h"

namespace dcp {

std::vector<std::string> FuzzSeeds() {
  const std::string token(kTokenNbytes, 'a');
  const TrafficSummary traffic{
      .messages = 5, .nbytes = 1234, .sizes_crc = 0x12345678};
  return {Encode(PeerAddress{
              .token = token,
              .host = "a host",
              .unix_name = "dcpcpp-a",
              .tcp = {{.ip = std::string("\x7f\0\0\1", 4), .port = 29500},
                      {.ip = std::string(16, '\x01'), .port = 65535}}}),
          Encode(PeerAddress{.token = token}),
          Encode(PeerHello{.token = token, .rank = 3, .outgoing = traffic}),
          EncodeWelcome(traffic)};
}
std::vector<std::string> FuzzDictionary() { return WireDictionary(); }

}  // namespace dcp

extern "C" int LLVMFuzzerTestOneInput(const uint8_t* data, size_t size) {
  const std::string_view input(reinterpret_cast<const char*>(data), size);
  if (const auto address = dcp::ParsePeerAddress(input); address.ok()) {
    const auto again = dcp::ParsePeerAddress(dcp::Encode(*address));
    dcp::Require(again.ok() && *again == *address, "addresses come back");
  }
  if (const auto hello = dcp::ParseHello(input)) {
    dcp::Require(dcp::Encode(*hello) == input, "a hello has one form");
  }
  if (const auto welcome = dcp::ParseWelcome(input)) {
    dcp::Require(dcp::EncodeWelcome(*welcome) == input,
                 "a welcome has one form");
  }
  return 0;
}
