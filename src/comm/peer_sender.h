// PeerSender: sends to all peers at once.

#ifndef DCP_COMM_PEER_SENDER_H_
#define DCP_COMM_PEER_SENDER_H_

#include <cstdint>
#include <vector>

#include "comm/message_source.h"
#include "comm/peer_outbox.h"
#include "dcp/clock.h"
#include "dcp/status.h"

namespace dcp {

/// What goes to one peer.
struct PeerMessages {
  int peer = 0;
  /// A connection to it, of the caller.
  int socket = -1;
  /// nbytes of each message.
  std::vector<int64_t> sizes;
};

/// Turns about: a round sends every peer that takes something one buffer, so
/// that a slow one, or one with much to receive, holds up no other. One thread.
class PeerSender {
 public:
  /// `source` outlives the sender. `timeout` as in PeerExchangeOptions.
  PeerSender(std::vector<PeerMessages> messages, MessageSource& source,
             Clock::Duration timeout);

  /// Sends everything and waits until all peers have received it. Another
  /// thread ends it by EndSocket of the connections.
  /// \error of the source; kUnavailable, kDeadlineExceeded as PeerOutbox
  Status Run();

 private:
  std::vector<PeerOutbox> outboxes_;
};

}  // namespace dcp

#endif  // DCP_COMM_PEER_SENDER_H_
