#include "reliability/simulated_network.h"

#include <algorithm>
#include <random>
#include <utility>

namespace dcp::testing {

class SimulatedTransport final : public Transport {
 public:
  SimulatedTransport(int rank, SimulatedNetwork& network)
      : rank_(rank), network_(network) {}
  ~SimulatedTransport() override { network_.Leave(rank_); }

  int rank() const override { return rank_; }
  int world_size() const override { return network_.world_size_; }

  StatusOr<std::vector<std::string>> Gather(std::string_view message) override {
    DCP_ASSIGN_OR_RETURN(const auto* round, Meet({std::string(message)}));
    std::vector<std::string> gathered;
    if (rank_ != coordinator()) return gathered;
    for (const auto& [rank, messages] : *round) {
      gathered.push_back(messages[0]);
    }
    return gathered;
  }
  StatusOr<std::string> Scatter(
      std::span<const std::string> messages) override {
    DCP_ASSIGN_OR_RETURN(const auto* round,
                         Meet({messages.begin(), messages.end()}));
    return round->at(coordinator())[static_cast<size_t>(rank_)];
  }
  StatusOr<std::string> Broadcast(std::string_view message) override {
    DCP_ASSIGN_OR_RETURN(const auto* round, Meet({std::string(message)}));
    return round->at(coordinator())[0];
  }
  Status AwaitAll(std::string_view) override { return Meet({}).status(); }

 private:
  StatusOr<const SimulatedNetwork::Round*> Meet(
      std::vector<std::string> messages) {
    return network_.Meet(rank_, next_++, std::move(messages));
  }

  const int rank_;
  SimulatedNetwork& network_;
  size_t next_ = 0;
};

std::unique_ptr<Transport> SimulatedNetwork::Connect(int rank) {
  return std::make_unique<SimulatedTransport>(rank, *this);
}

StatusOr<const SimulatedNetwork::Round*> SimulatedNetwork::Meet(
    int rank, size_t number, std::vector<std::string> messages) {
  if (gone_.contains(rank)) {
    return MakeStatus(absl::StatusCode::kAborted, "the connection is lost");
  }
  Round& round = rounds_[number];
  round[rank] = std::move(messages);
  const auto missing_is_gone = [&] {
    return std::any_of(gone_.begin(), gone_.end(),
                       [&](int other) { return !round.contains(other); });
  };
  const auto complete = [&] {
    return static_cast<int>(round.size()) == world_size_;
  };
  const bool in_time =
      turns_.WaitUntil(rank, [&] { return complete() || missing_is_gone(); });
  const bool is_lost =
      std::uniform_real_distribution<double>()(turns_.random()) < loss_;
  if (in_time && complete() && !is_lost) return &round;
  gone_.insert(rank);
  if (!in_time) {
    return MakeStatus(absl::StatusCode::kDeadlineExceeded,
                      "a rank did not take part in time");
  }
  return MakeStatus(absl::StatusCode::kAborted, "a rank is gone");
}

}  // namespace dcp::testing
