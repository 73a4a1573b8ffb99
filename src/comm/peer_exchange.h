// PeerExchange: bulk data between the ranks of one save.
//
// Beside the Transport, which carries plans: what goes through here is as large
// as the tensors. Both ends know from the plan which messages go from whom to
// whom, how large they are and in which order they go; so what is sent is their
// bytes, each message followed by its CRC-32, and nothing else. See
// peer_exchange.cc for the protocol.

#ifndef DCP_COMM_PEER_EXCHANGE_H_
#define DCP_COMM_PEER_EXCHANGE_H_

#include <cstddef>
#include <cstdint>
#include <functional>
#include <map>
#include <memory>
#include <optional>
#include <span>
#include <string>
#include <thread>
#include <vector>

#include "absl/base/thread_annotations.h"
#include "base/mutex.h"
#include "base/unique_fd.h"
#include "comm/message_source.h"
#include "comm/peer_inbox.h"
#include "comm/peer_listener.h"
#include "comm/peer_sender.h"
#include "dcp/clock.h"
#include "dcp/status.h"

namespace dcp {

/// What goes between this rank and one other. Both ranks say the same of it.
struct PeerTraffic {
  int rank = 0;
  /// PeerListener::address() of that rank; may be empty if nothing goes to it.
  std::string address;
  /// nbytes of each message to it, in order.
  std::vector<int64_t> outgoing;
  /// nbytes of each message from it, in order.
  std::vector<int64_t> incoming;
};

struct PeerExchangeOptions {
  /// This one.
  int rank = 0;
  /// Asked every 50 ms or so while Start or Finish waits, in its thread; may be
  /// null. An error ends the exchange and is returned.
  std::function<Status()> proceed;
  /// Nothing has moved for so long between this rank and one that it waits for:
  /// an error that names that one. 0: for ever.
  ///
  /// A rank that sends waits for one that receives when it needs to: choose
  /// longer than the longest that a rank may be busy with others.
  Clock::Duration timeout{0};
};

/// Sends in one thread of its own, and receives in those that call Receive.
///
/// The first failure ends it as a whole, on this rank and thereby on those that
/// it exchanges data with: its connections are closed, and every call returns
/// it. A peer that ends is named, kUnavailable. Uses at most 64 MiB of buffers,
/// and one descriptor for each connection: two for a rank that is sent to and
/// received from.
///
/// Not for use in a process that was forked from the one that made it.
class PeerExchange {
 public:
  /// Connects to all ranks that this one sends to, takes in all that send to
  /// it, then starts to send. All of them call it; returns when they have.
  ///
  /// `listener` is needed until it returns, and may be null if nobody sends to
  /// this rank. Where it fails, the listener can be used again: to meet those
  /// who still wait. `source` outlives the exchange.
  /// \error kUnavailable       a peer cannot be reached, or has gone; named
  /// \error kDeadlineExceeded  one did not come within options.timeout; named
  /// \error kInternal          two ranks' messages are not the same; both named
  /// \error kInvalidArgument   a rank twice, or this one; a size below 0
  static StatusOr<std::unique_ptr<PeerExchange>> Start(
      const PeerListener* listener, const std::vector<PeerTraffic>& peers,
      MessageSource& source, const PeerExchangeOptions& options);

  /// Cancels what has not been sent, and waits for a call of the source.
  ~PeerExchange();
  PeerExchange(const PeerExchange&) = delete;
  PeerExchange& operator=(const PeerExchange&) = delete;

  /// Receives message `number` of `rank` into `out`, which has its size, and
  /// verifies its checksum. Thread-safe.
  ///
  /// Messages of one rank are received once, in order: the call for a later one
  /// waits until other threads have received those before. Messages of no bytes
  /// need not be received.
  /// \error kUnavailable       the rank has ended before it had sent this
  /// \error kDeadlineExceeded  it sent nothing for options.timeout
  /// \error kDataLoss          the bytes are not those that were sent
  /// \error kInvalidArgument   no such message, another size, or received
  ///     before; the exchange goes on
  Status Receive(int rank, size_t number, std::span<std::byte> out);

  /// Ends the exchange: every call, those that wait included, returns `why` (an
  /// error) or what came first. The thread that sends ends after the call of
  /// the source that it is in. Thread-safe.
  void Cancel(const Status& why);

  /// Waits until every peer has received all that this rank sends to it, so
  /// this rank must not be the one that they wait for: what it receives itself
  /// has been received, or is by other threads.
  /// \error kUnavailable  a rank has ended before it had received everything
  Status Finish();

 private:
  explicit PeerExchange(const PeerExchangeOptions& options)
      : options_(options) {}

  Status Connect(const PeerListener* listener,
                 const std::vector<PeerTraffic>& peers, MessageSource& source);
  void Send();
  Status failure();

  const PeerExchangeOptions options_;
  // Not changed once Start has returned.
  std::map<int, std::unique_ptr<PeerInbox>> inboxes_;
  std::vector<UniqueFd> outgoing_;
  std::optional<PeerSender> sender_;  ///< of the thread; none: nothing to send

  Mutex mutex_;
  CondVar changed_;
  Status failure_ ABSL_GUARDED_BY(mutex_);
  bool has_sent_all_ ABSL_GUARDED_BY(mutex_) = true;
  std::thread thread_;
};

}  // namespace dcp

#endif  // DCP_COMM_PEER_EXCHANGE_H_
