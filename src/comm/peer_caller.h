// PeerCaller: the way to one peer.

#ifndef DCP_COMM_PEER_CALLER_H_
#define DCP_COMM_PEER_CALLER_H_

#include <poll.h>

#include <span>
#include <string>
#include <utility>
#include <vector>

#include "base/unique_fd.h"
#include "comm/peer_address.h"
#include "comm/peer_hello.h"
#include "comm/peer_socket.h"
#include "dcp/clock.h"
#include "dcp/status.h"

namespace dcp {

/// Connects to one rank and says hello, without waiting: MeetPeers polls.
///
/// A host has addresses that do not lead to it from everywhere, and one may
/// lead to another host (those of bridges are the same on many). Only who knows
/// the token gives a welcome, so the next address is tried as soon as one
/// fails or lets wait; a connection that was made is kept, because the peer may
/// merely not be there yet. The first welcome decides. One thread.
class PeerCaller {
 public:
  /// `peer`: the rank that is meant by `address` and `hello.token`.
  PeerCaller(int peer, const PeerAddress& address, const PeerHello& hello);

  /// Begins what is due.
  /// \error kUnavailable  every address has failed; names rank and reasons
  Status Advance(Clock::TimePoint now);
  /// Appends what it waits for.
  void AppendPolled(std::vector<pollfd>& polled) const;
  /// Goes on after poll(2); `polled` is what AppendPolled appended. Returns
  /// whether anything has changed.
  /// \error kInternal  the peer expects something else than is sent
  StatusOr<bool> Handle(std::span<const pollfd> polled, Clock::TimePoint now);

  int peer() const { return peer_; }
  bool has_connected() const { return socket_.ok(); }
  /// The connection; once, when has_connected().
  UniqueFd Take() { return std::move(socket_); }

 private:
  /// A connection that may become the one.
  struct Attempt {
    UniqueFd socket;
    SocketAddress address;
    Clock::TimePoint since;  ///< it is in this state
    bool is_connected = false;
    std::string welcome;  ///< as much of it as has come
  };

  bool IsTimeForNext(Clock::TimePoint now) const;
  /// False: not now, try again later.
  StatusOr<bool> BeginNext(Clock::TimePoint now);
  Status SayHello(Attempt& attempt, Clock::TimePoint now);
  /// kUnavailable: nothing comes of this attempt.
  Status ReadWelcome(Attempt& attempt);
  void NoteFailure(const SocketAddress& address, const Status& why);

  const int peer_;
  const PeerHello hello_;
  std::vector<SocketAddress> addresses_;
  size_t next_ = 0;  ///< of addresses_
  std::vector<Attempt> attempts_;
  std::string failures_;
  UniqueFd socket_;
};

}  // namespace dcp

#endif  // DCP_COMM_PEER_CALLER_H_
