// MpiMeeting: rounds in which the ranks of a communicator meet at rank 0.

#ifndef DCP_MPI_MPI_MEETING_H_
#define DCP_MPI_MPI_MEETING_H_

#include <functional>
#include <memory>
#include <optional>
#include <string>
#include <string_view>
#include <vector>

#include "dcp/clock.h"
#include "dcp/status.h"
#include "mpi/mpi_channel.h"

namespace dcp {

/// One rank's side of it. The protocol is at the top of mpi_meeting.cc.
class MpiMeeting {
 public:
  using Payload = std::shared_ptr<const std::string>;

  /// `timeout`: of the coordinator in a round.
  MpiMeeting(std::unique_ptr<MpiChannel> channel, Clock::Duration timeout,
             std::shared_ptr<Clock> clock);
  /// Tells the others, and waits a little for them to leave too.
  ~MpiMeeting();

  int rank() const { return channel_->rank(); }
  int size() const { return channel_->size(); }
  bool coordinates() const { return rank() == 0; }

  /// The coordinator's answer to a call of this other rank.
  StatusOr<std::string> Ask(MpiMessageKind method, std::string_view message);
  /// What all ranks sent in this round; `mine` is the coordinator's.
  StatusOr<std::vector<std::string>> Collect(MpiMessageKind method,
                                             std::string_view mine);
  /// Sends each rank the coordinator's answer, and waits until all are gone.
  Status Answer(const std::function<Payload(int)>& payload_of);
  /// Takes what has arrived; whether the group is whole.
  Status Check();
  /// Makes `failure` the group's, and returns it.
  Status Fail(const Status& failure);

 private:
  Status CheckUsable() const;
  /// The ranks that this one talks to.
  std::vector<int> Peers() const;
  /// Takes what arrives until `done`; false: `timeout` was over before.
  StatusOr<bool> TakeUntil(const std::function<bool()>& done,
                           std::optional<Clock::Duration> timeout);
  /// Takes a message that has arrived; false: there is none.
  StatusOr<bool> TakeNext();
  Status Take(MpiMessage message);
  /// What came before the round began, and who is gone.
  Status CheckArrivals() const;
  std::string MissingRanks() const;
  /// A rank that is gone and was to be sent something.
  std::optional<size_t> LostReceiver() const;
  /// Whether nothing is on its way between this rank and others any more.
  StatusOr<bool> Leave();

  const std::unique_ptr<MpiChannel> channel_;
  const Clock::Duration timeout_;
  const std::shared_ptr<Clock> clock_;
  Status failure_;  // of the group, once there is one
  // The coordinator's: calls of this round, by rank, and its own while it
  // collects.
  std::vector<std::optional<MpiMessage>> calls_;
  size_t call_count_ = 0;
  std::optional<MpiMessage> expected_;
  std::vector<bool> has_left_;  // by rank
  // Of other ranks: the answer to the call that is under way.
  std::optional<std::string> reply_;
};

}  // namespace dcp

#endif  // DCP_MPI_MPI_MEETING_H_
