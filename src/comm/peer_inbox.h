// PeerInbox: what one peer sends to this rank.

#ifndef DCP_COMM_PEER_INBOX_H_
#define DCP_COMM_PEER_INBOX_H_

#include <cstddef>
#include <cstdint>
#include <span>
#include <string>
#include <vector>

#include "absl/base/thread_annotations.h"
#include "base/mutex.h"
#include "base/unique_fd.h"
#include "comm/silence.h"
#include "dcp/clock.h"
#include "dcp/status.h"

namespace dcp {

/// The receiving end of a connection. Thread-safe.
class PeerInbox {
 public:
  /// `rank` is the one that sends, `sizes` the nbytes of its messages.
  /// `timeout` as in PeerExchangeOptions.
  PeerInbox(int rank, UniqueFd socket, std::vector<int64_t> sizes,
            Clock::Duration timeout);
  ~PeerInbox();
  PeerInbox(const PeerInbox&) = delete;
  PeerInbox& operator=(const PeerInbox&) = delete;

  /// As PeerExchange::Receive. After an error, other than kInvalidArgument,
  /// every call returns it.
  Status Receive(size_t number, std::span<std::byte> out);

  /// Ends the connection; every call, those that wait included, returns `why`
  /// or what came first.
  void Cancel(const Status& why);

 private:
  /// How much of a message has come, its checksum included.
  struct Progress {
    size_t number = 0;
    size_t received = 0;
  };

  /// The first from `number` on that has bytes.
  size_t SkipEmpty(size_t number) const;
  /// Tells the peer that this rank has it all, if `next` is none.
  void Acknowledge(size_t next) const;
  Status CheckArguments(size_t number, std::span<std::byte> out) const;
  /// Waits until those before `number` have been received. Then it is the
  /// caller's turn, until EndTurn.
  Status AwaitTurn(size_t number);
  Status EndTurn(const Status& status);
  /// Reads the message and its checksum.
  Status Read(size_t number, std::span<std::byte> out) const;
  /// \error kDeadlineExceeded  the silence is too long
  Status AwaitMore(const Progress& progress, Silence& silence) const;
  /// "message 4 of 10, 100 of 5000 bytes of it"
  std::string ToString(const Progress& progress) const;

  const int rank_;
  const UniqueFd socket_;
  const std::vector<int64_t> sizes_;
  const Clock::Duration timeout_;

  Mutex mutex_;
  CondVar changed_;
  size_t next_ ABSL_GUARDED_BY(mutex_);
  bool is_taken_ ABSL_GUARDED_BY(mutex_) = false;  ///< next_, by a thread
  Status failure_ ABSL_GUARDED_BY(mutex_);
};

}  // namespace dcp

#endif  // DCP_COMM_PEER_INBOX_H_
