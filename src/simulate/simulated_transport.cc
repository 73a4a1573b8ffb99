#include "simulate/simulated_transport.h"

#include "simulate/cpu_stopwatch.h"

namespace dcp {

StatusOr<std::vector<std::string>> SimulatedTransport::Gather(
    std::string_view message) {
  if (!message_of_ && world_size_ > 1) {
    return FailedPrecondition("a simulated rank has nothing to send");
  }
  CpuStopwatch watch;
  std::vector<std::string> gathered;
  gathered.reserve(static_cast<size_t>(world_size_));
  gathered.emplace_back(message);
  size_t nbytes = 0;
  for (int rank = 1; rank < world_size_; ++rank) {
    DCP_ASSIGN_OR_RETURN(std::string theirs, message_of_(round_, rank));
    nbytes += theirs.size();
    theirs.shrink_to_fit();  // there may be a gibibyte of them
    gathered.push_back(std::move(theirs));
  }
  Count(nbytes);
  ++round_;
  gather_seconds_ += watch.Lap();
  return gathered;
}

StatusOr<std::string> SimulatedTransport::Scatter(
    std::span<const std::string> messages) {
  if (messages.size() != static_cast<size_t>(world_size_)) {
    return InvalidArgument("Scatter needs a message for each of " +
                           std::to_string(world_size_) + " ranks, got " +
                           std::to_string(messages.size()));
  }
  size_t nbytes = 0;
  for (const std::string& message : messages.subspan(1)) {
    nbytes += message.size();
  }
  Count(nbytes);
  return messages[0];
}

StatusOr<std::string> SimulatedTransport::Broadcast(std::string_view message) {
  Count(message.size() * static_cast<size_t>(world_size_ - 1));
  return std::string(message);
}

Status SimulatedTransport::AwaitAll(std::string_view /*phase*/) {
  Count(0);
  Count(0);
  return absl::OkStatus();
}

}  // namespace dcp
