// MeetPeers: how the ranks of an exchange come together.

#ifndef DCP_COMM_PEER_MEETING_H_
#define DCP_COMM_PEER_MEETING_H_

#include <functional>
#include <map>
#include <string>
#include <vector>

#include "base/unique_fd.h"
#include "comm/peer_hello.h"
#include "comm/peer_listener.h"
#include "dcp/clock.h"
#include "dcp/status.h"

namespace dcp {

/// What a rank does in a meeting.
struct PeerErrands {
  struct Call {
    std::string address;  ///< PeerListener::address()
    TrafficSummary outgoing;
  };

  /// This one.
  int rank = 0;
  /// By rank: whom it sends to.
  std::map<int, Call> calls;
  /// By rank: who sends to it.
  std::map<int, TrafficSummary> expected;
};

struct MeetingPatience {
  /// Asked every 50 ms or so, may be null; an error ends the meeting.
  std::function<Status()> proceed;
  /// Without anybody coming; 0: for ever.
  Clock::Duration timeout{0};
};

/// Connections by rank; non-blocking, with nothing in them yet.
struct MetPeers {
  std::map<int, UniqueFd> outgoing;
  std::map<int, UniqueFd> incoming;
};

/// Connects to those that are called and takes in those that are expected, both
/// at once: nobody waits for somebody who waits. `listener` may be null if
/// nobody is expected.
/// \error as PeerExchange::Start
StatusOr<MetPeers> MeetPeers(const PeerListener* listener,
                             const PeerErrands& errands,
                             const MeetingPatience& patience);

}  // namespace dcp

#endif  // DCP_COMM_PEER_MEETING_H_
