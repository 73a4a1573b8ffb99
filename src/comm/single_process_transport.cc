#include "dcp/transport.h"

namespace dcp {
namespace {

class SingleProcessTransport final : public Transport {
 public:
  int rank() const override { return 0; }
  int world_size() const override { return 1; }

  StatusOr<std::vector<std::string>> Gather(std::string_view message) override {
    return std::vector<std::string>{std::string(message)};
  }

  StatusOr<std::string> Scatter(
      std::span<const std::string> messages) override {
    if (messages.size() != 1) {
      return InvalidArgument(
          "Scatter needs a message for each of 1 ranks, got " +
          std::to_string(messages.size()));
    }
    return messages[0];
  }

  StatusOr<std::string> Broadcast(std::string_view message) override {
    return std::string(message);
  }

  Status AwaitAll(std::string_view) override { return absl::OkStatus(); }
};

}  // namespace

std::unique_ptr<Transport> MakeSingleProcessTransport() {
  return std::make_unique<SingleProcessTransport>();
}

}  // namespace dcp
