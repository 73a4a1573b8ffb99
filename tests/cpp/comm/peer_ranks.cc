#include "comm/peer_ranks.h"

#include <algorithm>
#include <array>
#include <filesystem>
#include <iterator>
#include <random>
#include <stdexcept>
#include <thread>
#include <utility>

namespace dcp::testing {
namespace {

void Fill(int from, int to, size_t number, int64_t begin,
          std::span<std::byte> out) {
  const auto seed = static_cast<uint64_t>(from * 31 + to * 17) + number * 7;
  for (size_t i = 0; i < out.size(); ++i) {
    const uint64_t at = static_cast<uint64_t>(begin) + i;
    out[i] =
        static_cast<std::byte>(seed + at * 167 + (at >> 8) * 13 + (at >> 16));
  }
}

}  // namespace

TrafficSizes RandomSizes(size_t ranks, size_t count, int64_t max_nbytes) {
  std::minstd_rand random(static_cast<unsigned>(ranks * 7 + count));
  TrafficSizes sizes(ranks, std::vector<std::vector<int64_t>>(ranks));
  std::uniform_int_distribution<int64_t> large(0, max_nbytes);
  std::uniform_int_distribution<int64_t> small(0, 300);
  for (size_t from = 0; from < ranks; ++from) {
    for (size_t to = 0; to < ranks; ++to) {
      if (from == to) continue;
      for (size_t i = 0; i < count; ++i) {
        sizes[from][to].push_back(i % 3 == 0 ? large(random) : small(random));
      }
    }
  }
  return sizes;
}

TrafficSizes OneWay(std::vector<int64_t> sizes) {
  TrafficSizes traffic(2, std::vector<std::vector<int64_t>>(2));
  traffic[0][1] = std::move(sizes);
  return traffic;
}

TestSource::TestSource(int rank, const TrafficSizes& sizes, Bytes bytes)
    : rank_(rank) {
  if (bytes == Bytes::kRead) return;
  const auto& mine = sizes[static_cast<size_t>(rank)];
  whole_.resize(mine.size());
  for (size_t to = 0; to < mine.size(); ++to) {
    for (size_t number = 0; number < mine[to].size(); ++number) {
      whole_[to].emplace_back(static_cast<size_t>(mine[to][number]));
      Fill(rank, static_cast<int>(to), number, 0, whole_[to].back());
    }
  }
}

Status TestSource::Read(int peer, size_t number, int64_t begin,
                        std::span<std::byte> out) {
  Fill(rank_, peer, number, begin, out);
  return absl::OkStatus();
}

std::span<const std::byte> TestSource::Whole(int peer, size_t number) {
  if (whole_.empty()) return {};
  return whole_[static_cast<size_t>(peer)][number];
}

Status ExpectMessage(int from, int to, size_t number,
                     std::span<const std::byte> data) {
  std::vector<std::byte> expected(data.size());
  Fill(from, to, number, 0, expected);
  if (std::equal(data.begin(), data.end(), expected.begin())) {
    return absl::OkStatus();
  }
  return Internal("message " + std::to_string(number) + " of rank " +
                  std::to_string(from) + " to rank " + std::to_string(to) +
                  " has other bytes");
}

Listeners OpenListeners(size_t ranks, const PeerListenerOptions& options) {
  Listeners listeners;
  for (size_t rank = 0; rank < ranks; ++rank) {
    auto listener = PeerListener::Open(options);
    if (!listener.ok()) {
      throw std::runtime_error(std::string(Message(listener.status())));
    }
    listeners.push_back(*std::move(listener));
  }
  return listeners;
}

std::vector<std::string> AddressesOf(const Listeners& listeners) {
  std::vector<std::string> addresses;
  for (const auto& listener : listeners) {
    addresses.push_back(listener->address());
  }
  return addresses;
}

std::vector<PeerTraffic> TrafficOf(int rank, const TrafficSizes& sizes,
                                   const std::vector<std::string>& addresses) {
  std::vector<PeerTraffic> peers;
  const auto me = static_cast<size_t>(rank);
  for (size_t peer = 0; peer < sizes.size(); ++peer) {
    if (peer == me) continue;
    peers.push_back({.rank = static_cast<int>(peer),
                     .address = addresses[peer],
                     .outgoing = sizes[me][peer],
                     .incoming = sizes[peer][me]});
  }
  return peers;
}

Status ReceiveAll(PeerExchange& exchange, int rank, const TrafficSizes& sizes,
                  size_t threads) {
  // In the order of numbers, the ranks' messages turn about.
  std::vector<std::pair<size_t, size_t>> messages;  // number, from
  const auto me = static_cast<size_t>(rank);
  for (size_t from = 0; from < sizes.size(); ++from) {
    for (size_t number = 0; number < sizes[from][me].size(); ++number) {
      messages.emplace_back(number, from);
    }
  }
  std::sort(messages.begin(), messages.end());
  std::vector<Status> statuses(threads);
  std::vector<std::thread> workers;
  for (size_t worker = 0; worker < threads; ++worker) {
    workers.emplace_back([&, worker] {
      for (size_t i = worker; i < messages.size(); i += threads) {
        const auto [number, from] = messages[i];
        std::vector<std::byte> data(
            static_cast<size_t>(sizes[from][me][number]));
        const int peer = static_cast<int>(from);
        Status status = exchange.Receive(peer, number, data);
        if (status.ok()) status = ExpectMessage(peer, rank, number, data);
        if (statuses[worker].ok()) statuses[worker] = status;
        if (!status.ok()) return;
      }
    });
  }
  for (std::thread& worker : workers) worker.join();
  for (const Status& status : statuses) DCP_RETURN_IF_ERROR(status);
  return absl::OkStatus();
}

Status RunRank(std::unique_ptr<PeerListener> listener,
               const std::vector<PeerTraffic>& peers, const TrafficSizes& sizes,
               const PeerExchangeOptions& options) {
  const Bytes bytes = options.rank % 2 == 0 ? Bytes::kRead : Bytes::kInMemory;
  TestSource source(options.rank, sizes, bytes);
  DCP_ASSIGN_OR_RETURN(
      const auto exchange,
      PeerExchange::Start(listener.get(), peers, source, options));
  listener.reset();
  constexpr size_t kThreads = 3;
  DCP_RETURN_IF_ERROR(ReceiveAll(*exchange, options.rank, sizes, kThreads));
  return exchange->Finish();
}

std::vector<Status> OnRanks(size_t ranks,
                            const std::function<Status(int)>& body) {
  std::vector<Status> statuses(ranks);
  std::vector<std::thread> threads;
  for (size_t rank = 0; rank < ranks; ++rank) {
    threads.emplace_back(
        [&, rank] { statuses[rank] = body(static_cast<int>(rank)); });
  }
  for (std::thread& thread : threads) thread.join();
  return statuses;
}

std::vector<Status> ExchangeAll(const TrafficSizes& sizes,
                                const PeerListenerOptions& options) {
  Listeners listeners = OpenListeners(sizes.size(), options);
  const std::vector<std::string> addresses = AddressesOf(listeners);
  return OnRanks(sizes.size(), [&](int rank) {
    return RunRank(std::move(listeners[static_cast<size_t>(rank)]),
                   TrafficOf(rank, sizes, addresses), sizes, {.rank = rank});
  });
}

size_t CountEntries(const std::string& directory) {
  const std::filesystem::directory_iterator entries(directory);
  return static_cast<size_t>(std::distance(begin(entries), end(entries)));
}

}  // namespace dcp::testing
