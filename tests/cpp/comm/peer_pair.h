// PeerPair: the exchanges of two ranks, in a test that has both in one thread.

#ifndef DCP_TESTS_COMM_PEER_PAIR_H_
#define DCP_TESTS_COMM_PEER_PAIR_H_

#include <array>
#include <memory>

#include "comm/peer_ranks.h"
#include "conformance/transport_conformance.h"

namespace dcp::testing {

struct PeerPair {
  /// Starts both; rank 0 has `options`.
  explicit PeerPair(const TrafficSizes& sizes,
                    const PeerExchangeOptions& options = {})
      : sources{TestSource(0, sizes), TestSource(1, sizes)} {
    Start(sizes, {&sources[0], &sources[1]}, options);
  }
  /// With other sources.
  PeerPair(const TrafficSizes& sizes, std::array<MessageSource*, 2> others,
           const PeerExchangeOptions& options = {})
      : sources{TestSource(0, sizes), TestSource(1, sizes)} {
    Start(sizes, others, options);
  }

  void Start(const TrafficSizes& sizes, std::array<MessageSource*, 2> from,
             const PeerExchangeOptions& options) {
    Listeners listeners = OpenListeners(2);
    const auto addresses = AddressesOf(listeners);
    RequireAllOk(OnRanks(2, [&](int rank) -> Status {
      const auto me = static_cast<size_t>(rank);
      PeerExchangeOptions own{.rank = rank};
      if (rank == 0) own = options;
      DCP_ASSIGN_OR_RETURN(
          exchanges[me], PeerExchange::Start(listeners[me].get(),
                                             TrafficOf(rank, sizes, addresses),
                                             *from[me], own));
      return absl::OkStatus();
    }));
  }

  std::array<TestSource, 2> sources;
  std::array<std::unique_ptr<PeerExchange>, 2> exchanges;
};

}  // namespace dcp::testing

#endif  // DCP_TESTS_COMM_PEER_PAIR_H_
