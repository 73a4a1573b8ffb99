#include <algorithm>
#include <chrono>
#include <new>
#include <span>
#include <type_traits>
#include <utility>

#include "base/poll_pause.h"
#include "dcp/mpi/transport.h"
#include "mpi/mpi_channel.h"
#include "mpi/mpi_meeting.h"

namespace dcp {
namespace {

// The longest timeout, some 30 years, that a clock in nanoseconds can add.
constexpr std::chrono::duration<double> kForever{1e9};

/// Each method is a round of the meeting.
class MpiTransport final : public Transport {
 public:
  MpiTransport(std::unique_ptr<MpiChannel> channel, Clock::Duration timeout,
               std::shared_ptr<Clock> clock)
      : meeting_(std::move(channel), timeout, std::move(clock)) {}

  int rank() const override { return meeting_.rank(); }
  int world_size() const override { return meeting_.size(); }

  StatusOr<std::vector<std::string>> Gather(std::string_view message) override {
    return Guarded([&] { return DoGather(message); });
  }
  StatusOr<std::string> Scatter(
      std::span<const std::string> messages) override {
    return Guarded([&] { return DoScatter(messages); });
  }
  StatusOr<std::string> Broadcast(std::string_view message) override {
    return Guarded([&] { return DoBroadcast(message); });
  }
  Status AwaitAll(std::string_view phase) override {
    return Guarded([&] { return DoAwaitAll(phase); });
  }
  Status Check() override {
    return Guarded([this] { return meeting_.Check(); });
  }

 private:
  /// What `call` returns; where its memory is short, all ranks learn of it.
  template <typename Call>
  std::invoke_result_t<Call> Guarded(const Call& call) {
    try {
      return call();
    } catch (const std::bad_alloc&) {
      return meeting_.Fail(
          MakeStatus(absl::StatusCode::kResourceExhausted,
                     "rank " + std::to_string(rank()) +
                         " has no memory for messages between ranks"));
    }
  }

  StatusOr<std::vector<std::string>> DoGather(std::string_view message) {
    constexpr auto kMethod = MpiMessageKind::kGather;
    if (!meeting_.coordinates()) {
      DCP_RETURN_IF_ERROR(meeting_.Ask(kMethod, message).status());
      return std::vector<std::string>();
    }
    DCP_ASSIGN_OR_RETURN(std::vector<std::string> gathered,
                         meeting_.Collect(kMethod, message));
    DCP_RETURN_IF_ERROR(AnswerAll(""));
    return gathered;
  }

  StatusOr<std::string> DoScatter(std::span<const std::string> messages) {
    constexpr auto kMethod = MpiMessageKind::kScatter;
    if (!meeting_.coordinates()) return meeting_.Ask(kMethod, "");
    DCP_RETURN_IF_ERROR(meeting_.Collect(kMethod, "").status());
    if (messages.size() != static_cast<size_t>(world_size())) {
      return meeting_.Fail(
          InvalidArgument("Scatter needs a message for each of " +
                          std::to_string(world_size()) + " ranks, got " +
                          std::to_string(messages.size())));
    }
    DCP_RETURN_IF_ERROR(meeting_.Answer([messages](int receiver) {
      return std::make_shared<const std::string>(
          messages[static_cast<size_t>(receiver)]);
    }));
    return messages[0];
  }

  StatusOr<std::string> DoBroadcast(std::string_view message) {
    constexpr auto kMethod = MpiMessageKind::kBroadcast;
    if (!meeting_.coordinates()) return meeting_.Ask(kMethod, "");
    DCP_RETURN_IF_ERROR(meeting_.Collect(kMethod, "").status());
    DCP_RETURN_IF_ERROR(AnswerAll(message));
    return std::string(message);
  }

  Status DoAwaitAll(std::string_view phase) {
    constexpr auto kMethod = MpiMessageKind::kAwaitAll;
    if (!meeting_.coordinates()) return meeting_.Ask(kMethod, phase).status();
    DCP_RETURN_IF_ERROR(meeting_.Collect(kMethod, phase).status());
    return AnswerAll("");
  }

  Status AnswerAll(std::string_view message) {
    auto shared = std::make_shared<const std::string>(message);
    return meeting_.Answer(
        [&shared](int) -> MpiMeeting::Payload { return shared; });
  }

  MpiMeeting meeting_;
};

Clock::Duration DurationOf(double seconds) {
  return std::chrono::duration_cast<Clock::Duration>(
      std::min(std::chrono::duration<double>(seconds), kForever));
}

/// A duplicate of `comm`, made by all of its ranks together.
StatusOr<MPI_Comm> Duplicate(MPI_Comm comm, Clock::Duration timeout,
                             Clock& clock) {
  // MPI writes to it when all ranks have come, which may be after we gave up.
  auto duplicate = std::make_unique<MPI_Comm>(MPI_COMM_NULL);
  MPI_Request request = MPI_REQUEST_NULL;
  DCP_RETURN_IF_ERROR(MpiStatus(MPI_Comm_idup(comm, duplicate.get(), &request),
                                "MPI_Comm_idup"));
  const Clock::TimePoint begin = clock.Now();
  PollPause pause(clock);
  for (;;) {
    int done = 0;
    DCP_RETURN_IF_ERROR(MpiStatus(MPI_Test(&request, &done, MPI_STATUS_IGNORE),
                                  "MPI_Comm_idup"));
    if (done != 0) return *duplicate;
    if (clock.Now() - begin >= timeout) {
      // NOLINTNEXTLINE(bugprone-unused-return-value): left to MPI
      static_cast<void>(duplicate.release());
      return MakeStatus(absl::StatusCode::kDeadlineExceeded,
                        "MakeMpiTransport waited " + TextOf(timeout) +
                            " for other ranks of the communicator to call it");
    }
    pause.Take();
  }
}

}  // namespace

StatusOr<std::unique_ptr<Transport>> MakeMpiTransport(
    MPI_Comm comm, const MpiTransportOptions& options) {
  DCP_RETURN_IF_ERROR(CheckMpiThread());
  if (!(options.timeout_seconds > 0)) {
    return InvalidArgument("timeout_seconds must be above 0, not " +
                           std::to_string(options.timeout_seconds));
  }
  if (comm == MPI_COMM_NULL) {
    return InvalidArgument(
        "MakeMpiTransport needs a communicator, got "
        "MPI_COMM_NULL");
  }
  int is_inter = 0;
  DCP_RETURN_IF_ERROR(
      MpiStatus(MPI_Comm_test_inter(comm, &is_inter), "MPI_Comm_test_inter"));
  if (is_inter != 0) {
    return InvalidArgument(
        "MakeMpiTransport needs the ranks of one group, got "
        "an inter-communicator");
  }
  std::shared_ptr<Clock> clock =
      options.clock ? options.clock : MakeSystemClock();
  const Clock::Duration timeout = DurationOf(options.timeout_seconds);
  DCP_ASSIGN_OR_RETURN(const MPI_Comm own, Duplicate(comm, timeout, *clock));
  DCP_ASSIGN_OR_RETURN(auto channel, MpiChannel::Make(own));
  auto transport = std::make_unique<MpiTransport>(std::move(channel), timeout,
                                                  std::move(clock));
  // All ranks are there, and of one version: the duplicate alone, which MPI
  // goes on to make after some have given up, does not say so.
  DCP_RETURN_IF_ERROR(transport->Gather("").status());
  return transport;
}

}  // namespace dcp
