// SimulatedNetwork: transports between ranks that take turns, which lose
// messages and ranks.

#ifndef DCP_TESTS_RELIABILITY_SIMULATED_NETWORK_H_
#define DCP_TESTS_RELIABILITY_SIMULATED_NETWORK_H_

#include <map>
#include <memory>
#include <set>
#include <string>
#include <string_view>
#include <vector>

#include "dcp/transport.h"
#include "reliability/turns.h"

namespace dcp::testing {

/// Every rank's n-th collective meets the n-th of all others. What a rank that
/// has left did not send, nobody gets; a rank that loses a message knows
/// nothing more, and the others may have got theirs.
class SimulatedNetwork {
 public:
  /// A rank loses a collective with probability `loss`.
  SimulatedNetwork(int world_size, double loss, Turns& turns)
      : world_size_(world_size), loss_(loss), turns_(turns) {}

  std::unique_ptr<Transport> Connect(int rank);
  /// `rank` will send nothing more.
  void Leave(int rank) { gone_.insert(rank); }

 private:
  friend class SimulatedTransport;
  /// What each rank sent, by rank.
  using Round = std::map<int, std::vector<std::string>>;

  /// Takes part in round number `number`.
  StatusOr<const Round*> Meet(int rank, size_t number,
                              std::vector<std::string> messages);

  const int world_size_;
  const double loss_;
  Turns& turns_;
  std::map<size_t, Round> rounds_;
  std::set<int> gone_;
};

}  // namespace dcp::testing

#endif  // DCP_TESTS_RELIABILITY_SIMULATED_NETWORK_H_
