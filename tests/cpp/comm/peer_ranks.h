// Ranks that exchange messages of known bytes, for tests.

#ifndef DCP_TESTS_COMM_PEER_RANKS_H_
#define DCP_TESTS_COMM_PEER_RANKS_H_

#include <cstddef>
#include <cstdint>
#include <functional>
#include <memory>
#include <span>
#include <string>
#include <vector>

#include "comm/peer_exchange.h"

namespace dcp::testing {

/// sizes[from][to]: nbytes of each message of one rank to another.
using TrafficSizes = std::vector<std::vector<std::vector<int64_t>>>;

/// Between all pairs of ranks, `count` messages each, of up to `max_nbytes`.
TrafficSizes RandomSizes(size_t ranks, size_t count, int64_t max_nbytes);
/// `sizes` from rank 0 to rank 1, and nothing else.
TrafficSizes OneWay(std::vector<int64_t> sizes);

/// Where a message's bytes come from.
enum class Bytes : uint8_t { kRead, kInMemory };

/// What the test's messages contain; another thing at every place.
class TestSource : public MessageSource {
 public:
  TestSource(int rank, const TrafficSizes& sizes, Bytes bytes = Bytes::kRead);

  Status Read(int peer, size_t number, int64_t begin,
              std::span<std::byte> out) override;
  std::span<const std::byte> Whole(int peer, size_t number) override;

 private:
  const int rank_;
  /// [to][number], if they are in memory.
  std::vector<std::vector<std::vector<std::byte>>> whole_;
};

/// Whether `data` is message `number` of one rank to another.
Status ExpectMessage(int from, int to, size_t number,
                     std::span<const std::byte> data);

using Listeners = std::vector<std::unique_ptr<PeerListener>>;
Listeners OpenListeners(size_t ranks, const PeerListenerOptions& options = {});
std::vector<std::string> AddressesOf(const Listeners& listeners);

std::vector<PeerTraffic> TrafficOf(int rank, const TrafficSizes& sizes,
                                   const std::vector<std::string>& addresses);

/// Receives all that comes to `rank` in `threads` threads, and checks it.
Status ReceiveAll(PeerExchange& exchange, int rank, const TrafficSizes& sizes,
                  size_t threads = 1);

/// The whole of what one rank does.
Status RunRank(std::unique_ptr<PeerListener> listener,
               const std::vector<PeerTraffic>& peers, const TrafficSizes& sizes,
               const PeerExchangeOptions& options);

/// Calls `body(rank)` in a thread for each rank.
std::vector<Status> OnRanks(size_t ranks,
                            const std::function<Status(int)>& body);

/// RunRank on all ranks.
std::vector<Status> ExchangeAll(const TrafficSizes& sizes,
                                const PeerListenerOptions& options);

/// Entries of /proc/self/fd or /proc/self/task.
size_t CountEntries(const std::string& directory);

}  // namespace dcp::testing

#endif  // DCP_TESTS_COMM_PEER_RANKS_H_
