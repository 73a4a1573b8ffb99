#include "comm/peer_exchange.h"

#include <catch2/catch.hpp>
#include <string>
#include <thread>
#include <utility>
#include <vector>

#include "comm/peer_pair.h"
#include "comm/peer_ranks.h"
#include "conformance/transport_conformance.h"

namespace dcp {
namespace {

using Catch::Matchers::Contains;
using namespace dcp::testing;  // NOLINT: helpers of these tests only

constexpr int64_t kKib = 1024;
constexpr int64_t kMib = 1024 * kKib;

std::string Text(const Status& status) { return std::string(Message(status)); }

PeerListenerOptions AnySocket() {
  return GENERATE(PeerListenerOptions{.tcp = false},
                  PeerListenerOptions{.unix_socket = false},
                  PeerListenerOptions{});
}

TEST_CASE("two, three and eight ranks exchange messages", "[comm][peer]") {
  const PeerListenerOptions options = AnySocket();
  const size_t ranks = GENERATE(2, 3, 8);
  RequireAllOk(ExchangeAll(RandomSizes(ranks, 12, 200 * kKib), options));
}

TEST_CASE("messages of any size arrive", "[comm][peer]") {
  const PeerListenerOptions options = AnySocket();
  TrafficSizes sizes = OneWay({0, 1, 255 * kKib + 1, 0, 5 * kMib, 3, 64 * kKib,
                               kMib - 4, kMib, kMib + 1, 4, 0});
  sizes[1][0] = sizes[0][1];  // from memory, see RunRank
  RequireAllOk(ExchangeAll(sizes, options));
}

TEST_CASE("many small messages arrive", "[comm][peer]") {
  RequireAllOk(ExchangeAll(RandomSizes(2, 10'000, 1000), AnySocket()));
}

TEST_CASE("ranks that exchange only messages without bytes, or none",
          "[comm][peer]") {
  const PeerListenerOptions options = AnySocket();
  RequireAllOk(ExchangeAll(OneWay({0, 0}), options));
  RequireAllOk(ExchangeAll(OneWay({}), options));
  RequireAllOk(ExchangeAll(TrafficSizes(1, {{}}), options));
}

TEST_CASE("messages without bytes need not be received", "[comm][peer]") {
  PeerPair pair(OneWay({0, 5, 0, 0, 6, 0}));
  std::vector<std::byte> five(5);
  std::vector<std::byte> six(6);
  CHECK(pair.exchanges[1]->Receive(0, 1, five) == absl::OkStatus());
  CHECK(pair.exchanges[1]->Receive(0, 4, six) == absl::OkStatus());
  CHECK(pair.exchanges[0]->Finish() == absl::OkStatus());
  CHECK(pair.exchanges[1]->Finish() == absl::OkStatus());
}

TEST_CASE("a later message waits for those before it", "[comm][peer]") {
  const std::vector<int64_t> sizes(50, 10 * kKib);
  PeerPair pair(OneWay(sizes));
  std::vector<Status> statuses(sizes.size());
  std::vector<std::thread> threads;
  for (size_t number = sizes.size(); number-- > 0;) {
    threads.emplace_back([&, number] {
      std::vector<std::byte> data(static_cast<size_t>(sizes[number]));
      statuses[number] = pair.exchanges[1]->Receive(0, number, data);
      if (statuses[number].ok()) {
        statuses[number] = ExpectMessage(0, 1, number, data);
      }
    });
  }
  for (std::thread& thread : threads) thread.join();
  RequireAllOk(statuses);
  CHECK(pair.exchanges[0]->Finish() == absl::OkStatus());
}

TEST_CASE("a slow receiver leaves the data with the sender", "[comm][peer]") {
  const TrafficSizes sizes = OneWay({16 * kMib});
  PeerPair pair(sizes);
  // Finish waits for the receiver, so it is asked from another thread.
  Status finished;
  std::thread finisher([&] { finished = pair.exchanges[0]->Finish(); });
  CHECK(ReceiveAll(*pair.exchanges[1], 1, sizes) == absl::OkStatus());
  finisher.join();
  CHECK(finished == absl::OkStatus());
}

TEST_CASE("a receiver's mistakes do not end the exchange", "[comm][peer]") {
  PeerPair pair(OneWay({3, 4}));
  PeerExchange& exchange = *pair.exchanges[1];
  std::vector<std::byte> data(3);
  const auto receive = [&](int rank, size_t number) {
    const Status status = exchange.Receive(rank, number, data);
    CHECK(status.code() == absl::StatusCode::kInvalidArgument);
    return Text(status);
  };
  CHECK_THAT(receive(5, 0), Contains("rank 5 sends nothing to this one"));
  CHECK_THAT(receive(0, 2), Contains("no message 2 of rank 0, which sends 2"));
  CHECK_THAT(receive(0, 1), Contains("message 1 of rank 0 has 4 bytes, not 3"));
  CHECK(exchange.Receive(0, 0, data) == absl::OkStatus());
  CHECK_THAT(receive(0, 0), Contains("message 0 of rank 0 was received"));
  data.resize(4);
  CHECK(exchange.Receive(0, 1, data) == absl::OkStatus());
  CHECK(pair.exchanges[0]->Finish() == absl::OkStatus());
}

TEST_CASE("nonsense about peers is refused", "[comm][peer]") {
  TestSource source(0, OneWay({}));
  const auto start = [&](const std::vector<PeerTraffic>& peers) {
    return PeerExchange::Start(nullptr, peers, source, {}).status();
  };
  const auto code = absl::StatusCode::kInvalidArgument;
  CHECK(start({{.rank = 0, .incoming = {1}}}).code() == code);
  CHECK(start({{.rank = 1, .incoming = {-1}}}).code() == code);
  CHECK(start({{.rank = -1, .incoming = {1}}}).code() == code);
  CHECK(start({{.rank = 1, .incoming = {1}}, {.rank = 1, .incoming = {1}}})
            .code() == code);
  CHECK_THAT(Text(start({{.rank = 1, .incoming = {1}}})),
             Contains("rank 1 sends to this one, which does not listen"));
  CHECK(start({{.rank = 1, .address = "no address", .outgoing = {1}}}).code() ==
        absl::StatusCode::kDataLoss);
  CHECK(start({{.rank = 0}, {.rank = 1}}) == absl::OkStatus());
}

TEST_CASE("an exchange leaves no descriptor and no thread", "[comm][peer]") {
  const TrafficSizes sizes = RandomSizes(3, 3, 10 * kKib);
  RequireAllOk(ExchangeAll(sizes, {}));
  const size_t descriptors = CountEntries("/proc/self/fd");
  const size_t threads = CountEntries("/proc/self/task");
  RequireAllOk(ExchangeAll(sizes, {}));
  { const PeerPair abandoned(RandomSizes(2, 3, kMib)); }
  CHECK(CountEntries("/proc/self/fd") == descriptors);
  CHECK(CountEntries("/proc/self/task") == threads);
}

}  // namespace
}  // namespace dcp
