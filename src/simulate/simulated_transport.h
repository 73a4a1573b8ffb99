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

/// Asks for what the other ranks send, and counts what goes by.
class SimulatedTransport final : public Transport {
 public:
  /// What a rank other than the coordinator sends in a Gather.
  using MessageOf = std::function<StatusOr<std::string>(int rank)>;

  /// `world_size` is at least 1.
  explicit SimulatedTransport(int world_size) : world_size_(world_size) {}

  /// What ranks send from now on.
  void SetMessages(MessageOf message_of) {
    message_of_ = std::move(message_of);
  }
  const PlanTraffic& traffic() const { return traffic_; }

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
  PlanTraffic traffic_;
};

}  // namespace dcp

#endif  // DCP_SIMULATE_SIMULATED_TRANSPORT_H_
