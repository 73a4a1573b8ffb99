// MpiChannel: messages of any length between the ranks of a communicator.

#ifndef DCP_MPI_MPI_CHANNEL_H_
#define DCP_MPI_MPI_CHANNEL_H_

#include <mpi.h>

#include <cstdint>
#include <list>
#include <memory>
#include <optional>
#include <string>
#include <string_view>
#include <vector>

#include "dcp/clock.h"
#include "dcp/status.h"

namespace dcp {

/// What a message is; the numbers are the protocol's.
enum class MpiMessageKind : uint8_t {
  kGather = 1,
  kScatter = 2,
  kBroadcast = 3,
  kAwaitAll = 4,
  kReply = 5,    ///< the coordinator's answer to one of the above
  kFailure = 6,  ///< the sender has given up; SerializeStatus
  kLeave = 7,    ///< the sender's last message
};

struct MpiMessage {
  int sender = 0;
  MpiMessageKind kind = MpiMessageKind::kReply;
  std::string payload;
};

/// Goes ahead of each message's pieces.
struct MpiEnvelope {
  uint64_t magic;
  uint32_t version;
  uint32_t kind;
  uint64_t nbytes;
};

/// A message that is being sent.
struct MpiOutgoing {
  int receiver = 0;
  MpiEnvelope envelope{};
  std::shared_ptr<const std::string> payload;
  std::vector<MPI_Request> requests;
};

/// The message that one sender is sending.
struct MpiIncoming {
  std::optional<MpiMessage> message;  ///< whose pieces are awaited
  size_t nbytes = 0;                  ///< of its payload
};

/// The part of a message that MPI is receiving.
struct MpiReceipt {
  int sender = 0;
  MPI_Request request = MPI_REQUEST_NULL;
  bool is_envelope = false;
  MpiEnvelope envelope{};
};

/// What MPI knows the addresses of.
struct MpiInFlight {
  std::list<MpiOutgoing> sends;
  std::vector<MpiIncoming> incoming;  // by sender
  std::optional<MpiReceipt> receipt;
};

/// Whether this thread may call MPI now.
/// \error kFailedPrecondition  says what the program must do
Status CheckMpiThread();

/// OK for MPI_SUCCESS, else what MPI says of `code` that `call`, which is about
/// `rank` if that is one, returned.
/// \error kUnknown
Status MpiStatus(int code, std::string_view call, int rank = -1);

/// Owns a communicator. Nothing here blocks; one thread at a time.
///
/// A message goes as an envelope (what, how long) and, unless it is empty, in
/// pieces, all with one tag: MPI keeps the order between two ranks.
class MpiChannel {
 public:
  /// `comm` is freed by Free, or never.
  static StatusOr<std::unique_ptr<MpiChannel>> Make(MPI_Comm comm);
  /// Memory that MPI may still read is left to it.
  ~MpiChannel();

  int rank() const { return rank_; }
  int size() const { return size_; }

  /// Starts to send; `payload` is kept until it is gone.
  Status Send(int receiver, MpiMessageKind kind,
              std::shared_ptr<const std::string> payload);
  /// Moves what is on its way, and returns a message that has arrived whole.
  /// \error kFailedPrecondition  what came is not of this protocol; names the
  ///     rank
  StatusOr<std::optional<MpiMessage>> Progress();
  bool is_sending() const { return !in_flight_->sends.empty(); }
  bool is_sending_to(int rank) const;
  /// Whether bytes are on their way, out or in.
  bool is_moving() const { return is_sending() || in_flight_->receipt; }
  /// The ranks to which something is on its way, "rank(s) 1 4".
  std::string Receivers() const;
  /// The rank in the middle of whose message this one is: nothing of others is
  /// received until it goes on.
  std::optional<int> sender_at_work() const;
  /// Only when nothing is on its way to or from any rank.
  void Free();

 private:
  explicit MpiChannel(MPI_Comm comm)
      : comm_(comm), in_flight_(std::make_unique<MpiInFlight>()) {}
  Status TestSends();
  /// Begins to receive what has come, if anything has.
  Status StartReceipt();
  /// Receives what MPI has matched; its sender expects that.
  Status Receive(MPI_Message message, const MPI_Status& status);
  StatusOr<std::optional<MpiMessage>> FinishReceipt();
  StatusOr<std::optional<MpiMessage>> OpenEnvelope(int sender,
                                                   const MpiEnvelope& envelope);

  MPI_Comm comm_;
  int rank_ = 0;
  int size_ = 1;
  std::unique_ptr<MpiInFlight> in_flight_;
  // A message was taken from MPI, and is lost.
  bool is_broken_ = false;
};

}  // namespace dcp

#endif  // DCP_MPI_MPI_CHANNEL_H_
