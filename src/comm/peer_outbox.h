// PeerOutbox: what this rank sends to one peer.

#ifndef DCP_COMM_PEER_OUTBOX_H_
#define DCP_COMM_PEER_OUTBOX_H_

#include <poll.h>

#include <cstddef>
#include <cstdint>
#include <memory>
#include <span>
#include <string>
#include <vector>

#include "comm/message_source.h"
#include "comm/silence.h"
#include "dcp/clock.h"
#include "dcp/status.h"

namespace dcp {

/// The sending end of a connection; it never waits. One thread.
class PeerOutbox {
 public:
  struct Options {
    int peer = 0;
    /// A connection to it, of the caller.
    int socket = -1;
    /// nbytes of each message.
    std::vector<int64_t> sizes;
    /// Of memory, as far as messages are not in memory already.
    size_t buffer_nbytes = 0;
    /// As in PeerExchangeOptions.
    Clock::Duration timeout{0};
  };

  /// `source` outlives the outbox.
  PeerOutbox(Options options, MessageSource& source);

  /// The peer has said that it has received everything.
  bool is_done() const { return is_done_; }
  /// What it waits for.
  pollfd polled() const;
  /// Sends what the peer takes, one buffer at most; `revents` are poll(2)'s,
  /// which waited for `waited`.
  /// \error kUnavailable       the peer has ended the exchange; named
  /// \error kDeadlineExceeded  it has taken nothing for too long; named
  Status GoOn(short revents, Clock::Duration waited);

 private:
  bool has_sent_all() const {
    return message_ == options_.sizes.size() && ready_.empty();
  }
  int64_t message_nbytes() const { return options_.sizes[message_]; }

  void SkipEmpty();
  Status Send(short revents);
  Status AwaitReceipt();
  /// Makes what comes next ready to be sent.
  Status Refill();
  /// Of the message at hand, if it begins here.
  Status AskForWhole();
  void TakeFromMemory();
  Status AppendToBuffer();
  void AppendChecksum();
  size_t room() const { return buffer_nbytes_ - used_; }
  Status Ended(const Status& why) const;
  /// "3 of 10 messages sent"
  std::string Position() const;

  const Options options_;
  MessageSource& source_;
  Silence silence_;
  bool is_done_ = false;

  size_t message_ = 0;  ///< of which the next bytes are
  int64_t taken_ = 0;   ///< bytes of it that are in ready_, or have been
  uint32_t crc_ = 0;    ///< of those
  std::span<const std::byte> whole_;  ///< it, if it is in memory

  size_t buffer_nbytes_ = 0;
  std::unique_ptr<std::byte[]> buffer_;
  size_t used_ = 0;                   ///< bytes of the buffer
  std::span<const std::byte> ready_;  ///< to be sent next
};

}  // namespace dcp

#endif  // DCP_COMM_PEER_OUTBOX_H_
