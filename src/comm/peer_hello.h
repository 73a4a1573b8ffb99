// What is said on a connection between two ranks beside the data.
//
// Who sends data connects and says hello: whom it means (the token), who it is,
// and what it will send. The other end answers with a welcome, what it expects.
// Both compare. A connection carries data in one direction only: messages, each
// followed by its CRC-32 unless it is empty. When the other end has received
// all, it sends a receipt.

#ifndef DCP_COMM_PEER_HELLO_H_
#define DCP_COMM_PEER_HELLO_H_

#include <cstddef>
#include <cstdint>
#include <optional>
#include <string>
#include <string_view>
#include <vector>

#include "dcp/status.h"

namespace dcp {

/// The messages of one rank to another, as far as both must agree.
struct TrafficSummary {
  uint64_t messages = 0;
  uint64_t nbytes = 0;     ///< of all, modulo 2^64
  uint32_t sizes_crc = 0;  ///< of the list of their sizes

  bool operator==(const TrafficSummary&) const = default;
  /// "5 messages of 1234 bytes in all (sizes 0x12345678)"
  std::string ToString() const;
};

/// `sizes`: nbytes of each message.
TrafficSummary Summarize(const std::vector<int64_t>& sizes);

struct PeerHello {
  std::string token;  ///< of the rank that is meant
  int rank = 0;       ///< of who says it
  TrafficSummary outgoing;
};

inline constexpr size_t kHelloNbytes = 64;
std::string Encode(const PeerHello& hello);
/// None if `bytes` are no hello.
std::optional<PeerHello> ParseHello(std::string_view bytes);

inline constexpr size_t kWelcomeNbytes = 28;
std::string EncodeWelcome(const TrafficSummary& expected);
/// None if `bytes` are no welcome.
std::optional<TrafficSummary> ParseWelcome(std::string_view bytes);

/// After each message, little-endian.
inline constexpr size_t kChecksumNbytes = 4;
/// Of the rank that has received everything.
inline constexpr std::string_view kReceipt = "\x06";

/// Whether the bytes are equal, in a time that does not tell where they differ.
bool IsToken(std::string_view given, std::string_view token);

/// What two ranks are told whose plans differ.
struct TrafficMismatch {
  int sender = 0;
  TrafficSummary sent;
  int receiver = 0;
  TrafficSummary expected;
};
/// kInternal
Status MismatchError(const TrafficMismatch& mismatch);

}  // namespace dcp

#endif  // DCP_COMM_PEER_HELLO_H_
