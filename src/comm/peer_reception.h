// PeerReception: takes in the peers that send to this rank.

#ifndef DCP_COMM_PEER_RECEPTION_H_
#define DCP_COMM_PEER_RECEPTION_H_

#include <poll.h>

#include <deque>
#include <map>
#include <span>
#include <string>
#include <utility>
#include <vector>

#include "base/unique_fd.h"
#include "comm/peer_hello.h"
#include "comm/peer_listener.h"
#include "dcp/clock.h"
#include "dcp/status.h"

namespace dcp {

/// Reads the hello of everybody who connects, without waiting: MeetPeers polls.
///
/// Who says anything but a hello with this rank's token is a stranger, and is
/// hung up on without a word. Who says nothing may stay, until another one
/// needs the place or for half a minute: strangers hold up nobody. One thread.
class PeerReception {
 public:
  /// `rank` is this one, `expected` what each rank will send, of those that
  /// send anything. `listener` outlives the reception.
  PeerReception(const PeerListener& listener, int rank,
                std::map<int, TrafficSummary> expected);

  /// Appends what it waits for.
  void AppendPolled(std::vector<pollfd>& polled) const;
  /// Goes on after poll(2); `polled` is what AppendPolled appended. Returns
  /// whether a peer has come.
  /// \error kInternal  a peer sends something else than is expected
  /// \error kResourceExhausted  the process has no descriptor left
  StatusOr<bool> Handle(std::span<const pollfd> polled, Clock::TimePoint now);

  /// Ranks that have not come yet.
  std::vector<int> missing() const;
  /// The connections, by rank, when nobody is missing; once.
  std::map<int, UniqueFd> Take() { return std::move(arrived_); }

 private:
  /// Somebody who has connected and not said a whole hello.
  struct Guest {
    UniqueFd socket;
    Clock::TimePoint since;
    std::string hello;  ///< as much of it as has come
  };

  Status Accept(int listening, Clock::TimePoint now);
  /// Whether `guest` may stay: it has not said everything yet.
  bool Hear(Guest& guest);
  /// `guest` has said a whole hello.
  Status Judge(Guest& guest);
  size_t MaxGuests() const;

  const PeerListener& listener_;
  const int rank_;
  const std::map<int, TrafficSummary> expected_;
  std::deque<Guest> guests_;  ///< the one that is here longest first
  std::map<int, UniqueFd> arrived_;
};

}  // namespace dcp

#endif  // DCP_COMM_PEER_RECEPTION_H_
