// MessageSource: what a rank sends to its peers, piece by piece.

#ifndef DCP_COMM_MESSAGE_SOURCE_H_
#define DCP_COMM_MESSAGE_SOURCE_H_

#include <cstddef>
#include <cstdint>
#include <span>

#include "dcp/status.h"

namespace dcp {

/// Asked by the exchange's own thread only, for the messages of a peer in their
/// order, and for the bytes of a message from first to last, once each. Calls
/// for different peers alternate. All peers wait while a call does.
class MessageSource {
 public:
  virtual ~MessageSource() = default;

  /// Fills `out` with bytes [begin, begin + out.size()) of message `number` to
  /// rank `peer`, 1 MiB at most, wherever that begins and ends. An error ends
  /// the exchange, for the peers as well.
  virtual Status Read(int peer, size_t number, int64_t begin,
                      std::span<std::byte> out) = 0;

  /// Memory that holds message `number` whole, and does until the exchange is
  /// gone, where there is such: it spares Read. Empty: there is none.
  virtual std::span<const std::byte> Whole(int /*peer*/, size_t /*number*/) {
    return {};
  }
};

}  // namespace dcp

#endif  // DCP_COMM_MESSAGE_SOURCE_H_
