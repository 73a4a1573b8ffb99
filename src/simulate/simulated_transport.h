// SimulatedTransport: the coordinator's transport in a job whose other ranks
// are not there.

#ifndef DCP_SIMULATE_SIMULATED_TRANSPORT_H_
#define DCP_SIMULATE_SIMULATED_TRANSPORT_H_

#include <functional>
#include <string>
#include <utility>
#include <vector>

#include "dcp/simulate.h"
#include "dcp/transport.h"

namespace dcp {

/// Asks for what the other ranks send, and counts what goes by. One thread.
class SimulatedTransport final : public Transport {
 public:
  /// What a rank other than the coordinator sends in a Gather; `round` of them
  /// came before it. Ranks are asked in order.
  using MessageOf = std::function<StatusOr<std::string>(int round, int rank)>;

  /// `world_size` is at least 1.
  explicit SimulatedTransport(int world_size) : world_size_(world_size) {}

  /// What ranks send from now on; rounds begin at 0.
  void SetMessages(MessageOf message_of) {
    message_of_ = std::move(message_of);
    round_ = 0;
  }
  const PlanTraffic& traffic() const { return traffic_; }
  /// The processor's, that gathering took: the other ranks' and the network's
  /// in a job that is there.
  double gather_seconds() const { return gather_seconds_; }

  int rank() const override { return 0; }
  int world_size() const override { return world_size_; }
  /// \error kFailedPrecondition  nothing was set that ranks send
  /// Others as of what was set.
  StatusOr<std::vector<std::string>> Gather(std::string_view message) override;
  /// \error kInvalidArgument  not a message for each rank
  StatusOr<std::string> Scatter(std::span<const std::string> messages) override;
  StatusOr<std::string> Broadcast(std::string_view message) override;
  /// Two empty messages a rank: that it has come, and that all have.
  Status AwaitAll(std::string_view phase) override;

 private:
  /// One message with each other rank.
  void Count(size_t nbytes) {
    traffic_.messages += world_size_ - 1;
    traffic_.nbytes += static_cast<int64_t>(nbytes);
  }

  const int world_size_;
  MessageOf message_of_;
  int round_ = 0;
  PlanTraffic traffic_;
  double gather_seconds_ = 0;
};

}  // namespace dcp

#endif  // DCP_SIMULATE_SIMULATED_TRANSPORT_H_
