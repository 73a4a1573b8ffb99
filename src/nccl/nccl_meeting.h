// NcclMeeting: calls in which the ranks of a communicator meet.

#ifndef DCP_NCCL_NCCL_MEETING_H_
#define DCP_NCCL_NCCL_MEETING_H_

#include <cstdint>
#include <memory>
#include <span>
#include <string>
#include <string_view>
#include <vector>

#include "dcp/clock.h"
#include "dcp/status.h"
#include "nccl/nccl_header.h"
#include "nccl/nccl_link.h"
#include "nccl/nccl_rounds.h"

namespace dcp {

/// One rank's side of it. The protocol is at the top of nccl_meeting.cc.
class NcclMeeting {
 public:
  NcclMeeting(std::unique_ptr<NcclLink> link, Clock::Duration timeout,
              std::shared_ptr<Clock> clock)
      : link_(std::move(link)), timeout_(timeout), clock_(std::move(clock)) {}
  NcclMeeting(const NcclMeeting&) = delete;
  NcclMeeting& operator=(const NcclMeeting&) = delete;
  /// Tells the others, and waits a little for them to hear it.
  ~NcclMeeting();

  int rank() const { return link_->rank(); }
  int size() const { return link_->size(); }

  /// What all ranks say of the call that they make together; this one's is
  /// about `message`. For kAwaitAll without a deadline.
  StatusOr<std::vector<NcclHeader>> Meet(NcclMethod method,
                                         std::string_view message);

  // After Meet:
  /// The messages that `headers` describe, by rank; `mine` is rank 0's.
  StatusOr<std::vector<std::string>> Collect(
      std::span<const NcclHeader> headers, std::string_view mine);
  /// Sends rank 0 the message that was given to Meet.
  Status Contribute(std::string_view message);
  /// Sends each other rank its message.
  Status Distribute(std::span<const std::string> messages);
  /// The message that rank 0 distributes to this one.
  StatusOr<std::string> Take();
  /// The message of rank 0, described by `header`, which there is `mine`.
  StatusOr<std::string> Share(const NcclHeader& header, std::string_view mine);

  Status Check();
  /// Makes `failure`, which other ranks do not know of, that of all later
  /// calls, and tells them.
  Status Fail(const Status& failure);

 private:
  /// Makes `failure`, of the link or known to all ranks, that of all later
  /// calls, without another word.
  Status Break(const Status& failure);
  /// OK, or Break.
  Status OrBreak(const Status& status) {
    return status.ok() ? status : Break(status);
  }
  /// Says `header` to all; theirs are there after Finish.
  Status BeginHeaders(const NcclHeader& header, NcclDeadline deadline);
  StatusOr<std::vector<NcclHeader>> ReadHeaders() const;
  /// `failure` of a meeting, with the ranks that nothing was heard of.
  Status NameSilent(const Status& failure, NcclMethod method);
  Status SendRounds(std::span<const std::string_view> messages);
  Status ReceiveRounds(std::span<std::string> messages);
  /// Waits for the messages of a round.
  Status FinishRound(std::span<const NcclTransfer> round, const char* what,
                     NcclDeadline deadline);
  void Leave();
  NcclDeadline DeadlineIn(Clock::Duration duration) const {
    return clock_->Now() + duration;
  }

  const std::unique_ptr<NcclLink> link_;
  const Clock::Duration timeout_;
  const std::shared_ptr<Clock> clock_;
  uint64_t sequence_ = 0;  // of the last call
  Status failure_;         // of all calls, once there is one
};

}  // namespace dcp

#endif  // DCP_NCCL_NCCL_MEETING_H_
