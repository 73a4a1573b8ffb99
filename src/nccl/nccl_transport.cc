#include "dcp/nccl_transport.h"

#include <algorithm>
#include <chrono>
#include <new>
#include <type_traits>
#include <utility>

#include "base/guarded.h"
#include "device/cuda_contexts.h"
#include "nccl/nccl_api.h"
#include "nccl/nccl_link.h"
#include "nccl/nccl_meeting.h"

namespace dcp {
namespace {

// The longest timeout, some 30 years, that a clock in nanoseconds can add.
constexpr std::chrono::duration<double> kForever{1e9};
// Whose headers fit the buffer.
constexpr int kMaxRanks = NcclLink::kBufferNbytes / NcclHeader::kNbytes;

class NcclTransport final : public Transport {
 public:
  NcclTransport(std::unique_ptr<NcclLink> link, Clock::Duration timeout,
                std::shared_ptr<Clock> clock)
      : meeting_(std::move(link), timeout, std::move(clock)) {}

  /// All ranks are there, and of one version.
  Status Begin() {
    return GuardedCall([this] { return Meet(NcclMethod::kMeet, "").status(); });
  }

  int rank() const override { return meeting_.rank(); }
  int world_size() const override { return meeting_.size(); }

  StatusOr<std::vector<std::string>> Gather(std::string_view message) override {
    return GuardedCall([&] { return DoGather(message); });
  }
  StatusOr<std::string> Scatter(
      std::span<const std::string> messages) override {
    return GuardedCall([&] { return DoScatter(messages); });
  }
  StatusOr<std::string> Broadcast(std::string_view message) override {
    return GuardedCall([&] { return DoBroadcast(message); });
  }
  Status AwaitAll(std::string_view phase) override {
    return GuardedCall(
        [&] { return Meet(NcclMethod::kAwaitAll, phase).status(); });
  }
  Status Check() override {
    return GuardedCall([this] { return meeting_.Check(); });
  }

 private:
  using Headers = std::vector<NcclHeader>;

  bool coordinates() const { return rank() == 0; }
  StatusOr<Headers> Meet(NcclMethod method, std::string_view message) {
    return meeting_.Meet(method, message);
  }

  /// What `call` returns; where its memory is short, all ranks learn of it.
  template <typename Call>
  std::invoke_result_t<Call> GuardedCall(const Call& call) {
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
    DCP_ASSIGN_OR_RETURN(const Headers headers,
                         Meet(NcclMethod::kGather, message));
    if (coordinates()) return meeting_.Collect(headers, message);
    DCP_RETURN_IF_ERROR(meeting_.Contribute(message));
    return std::vector<std::string>();
  }

  StatusOr<std::string> DoScatter(std::span<const std::string> messages) {
    if (coordinates() && messages.size() != static_cast<size_t>(world_size())) {
      return meeting_.Fail(
          InvalidArgument("Scatter needs a message for each of " +
                          std::to_string(world_size()) + " ranks, got " +
                          std::to_string(messages.size())));
    }
    DCP_RETURN_IF_ERROR(Meet(NcclMethod::kScatter, "").status());
    if (!coordinates()) return meeting_.Take();
    DCP_RETURN_IF_ERROR(meeting_.Distribute(messages));
    return messages[0];
  }

  StatusOr<std::string> DoBroadcast(std::string_view message) {
    DCP_ASSIGN_OR_RETURN(const Headers headers,
                         Meet(NcclMethod::kBroadcast,
                              coordinates() ? message : std::string_view()));
    return meeting_.Share(headers[0], message);
  }

  NcclMeeting meeting_;
};

/// What does not depend on the number of ranks.
Status CheckArguments(ncclComm* comm, const NcclTransportOptions& options) {
  if (comm == nullptr) {
    return InvalidArgument("MakeNcclTransport needs a communicator, got null");
  }
  if (options.timeout_seconds > 0) return absl::OkStatus();
  return InvalidArgument("timeout_seconds must be above 0, not " +
                         std::to_string(options.timeout_seconds));
}

StatusOr<std::unique_ptr<Transport>> Make(ncclComm* comm,
                                          const NcclTransportOptions& options) {
  DCP_RETURN_IF_ERROR(CheckArguments(comm, options));
  DCP_ASSIGN_OR_RETURN(const NcclApi api, FindNccl(options.nccl_library));
  DCP_ASSIGN_OR_RETURN(const CudaDriverApi cuda,
                       OpenCudaDriver(options.cuda_library));
  std::shared_ptr<Clock> clock =
      options.clock ? options.clock : MakeSystemClock();
  const auto timeout = std::chrono::duration_cast<Clock::Duration>(std::min(
      std::chrono::duration<double>(options.timeout_seconds), kForever));
  int size = 0;
  DCP_RETURN_IF_ERROR(
      CheckNccl(api, api.comm_count(comm, &size), "ncclCommCount", comm));
  if (size > kMaxRanks) {
    return InvalidArgument(
        "a transport over NCCL is for " + std::to_string(kMaxRanks) +
        " ranks at most, and the communicator has " + std::to_string(size));
  }
  DCP_ASSIGN_OR_RETURN(
      auto link,
      NcclLink::Split({.api = api,
                       .contexts = std::make_shared<CudaContexts>(cuda),
                       .clock = clock},
                      comm, clock->Now() + timeout));
  auto transport = std::make_unique<NcclTransport>(std::move(link), timeout,
                                                   std::move(clock));
  DCP_RETURN_IF_ERROR(transport->Begin());
  return transport;
}

}  // namespace

StatusOr<std::unique_ptr<Transport>> MakeNcclTransport(
    ncclComm* comm, const NcclTransportOptions& options) {
  return Guarded([&] { return Make(comm, options); });
}

}  // namespace dcp
