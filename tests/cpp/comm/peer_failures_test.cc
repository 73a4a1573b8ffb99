// Peers that fail, end, hang or never come.

#include <array>
#include <atomic>
#include <catch2/catch.hpp>
#include <chrono>
#include <functional>
#include <string>
#include <thread>
#include <utility>
#include <vector>

#include "comm/peer_exchange.h"
#include "comm/peer_pair.h"
#include "comm/peer_ranks.h"
#include "conformance/transport_conformance.h"
#include "testing/gate.h"

namespace dcp {
namespace {

using Catch::Matchers::Contains;
using namespace dcp::testing;  // NOLINT: helpers of these tests only

constexpr int64_t kMib = int64_t{1} << 20;
/// More than two sockets hold.
constexpr int64_t kLarge = 64 * kMib;
/// On a machine however slow; a wait for a timeout of the system is longer.
constexpr auto kAtOnce = std::chrono::seconds(20);
constexpr auto kShort = std::chrono::milliseconds(200);

std::string Text(const Status& status) { return std::string(Message(status)); }

/// Fails, or waits, where message 2 begins.
class StoppingSource final : public TestSource {
 public:
  StoppingSource(int rank, const TrafficSizes& sizes,
                 std::function<Status()> at)
      : TestSource(rank, sizes), at_(std::move(at)) {}

  Status Read(int peer, size_t number, int64_t begin,
              std::span<std::byte> out) override {
    if (number == 2 && begin == 0) DCP_RETURN_IF_ERROR(at_());
    return TestSource::Read(peer, number, begin, out);
  }

 private:
  const std::function<Status()> at_;
};

TEST_CASE("a rank that fails ends the exchange for those it sends to",
          "[comm][peer]") {
  const TrafficSizes sizes = OneWay({kMib, kMib, kMib});
  StoppingSource source(0, sizes, [] { return DataLoss("a bad sector"); });
  TestSource other(1, sizes);
  PeerPair pair(sizes, {&source, &other});
  const Status received = ReceiveAll(*pair.exchanges[1], 1, sizes);
  CHECK(received.code() == absl::StatusCode::kUnavailable);
  CHECK_THAT(Text(received),
             Contains("rank 0 ended the exchange before it had sent "
                      "everything (message "));
  const Status finished = pair.exchanges[0]->Finish();
  CHECK(finished.code() == absl::StatusCode::kDataLoss);
  CHECK_THAT(Text(finished), Contains("message 2 for rank 1: a bad sector"));
  // What came first stays.
  std::vector<std::byte> data(static_cast<size_t>(kMib));
  CHECK(pair.exchanges[1]->Receive(0, 2, data) == received);
  CHECK(pair.exchanges[1]->Finish() == received);
}

TEST_CASE("a rank that goes ends the exchange for those that send to it",
          "[comm][peer]") {
  PeerPair pair(OneWay({kLarge}));
  const auto begin = std::chrono::steady_clock::now();
  std::thread leaver([&] { pair.exchanges[1].reset(); });
  const Status finished = pair.exchanges[0]->Finish();
  leaver.join();
  CHECK(finished.code() == absl::StatusCode::kUnavailable);
  CHECK_THAT(Text(finished), Contains("rank 1 ended the exchange before it "
                                      "had received everything (0 of 1"));
  CHECK(std::chrono::steady_clock::now() - begin < kAtOnce);
}

TEST_CASE("data that is only in a socket has not been received",
          "[comm][peer]") {
  PeerPair pair(OneWay({100}));
  pair.exchanges[1].reset();
  CHECK(pair.exchanges[0]->Finish().code() == absl::StatusCode::kUnavailable);
}

TEST_CASE("a peer that takes nothing runs into the timeout", "[comm][peer]") {
  PeerPair pair(OneWay({kLarge}), PeerExchangeOptions{.timeout = kShort});
  const Status finished = pair.exchanges[0]->Finish();
  CHECK(finished.code() == absl::StatusCode::kDeadlineExceeded);
  CHECK_THAT(Text(finished),
             Contains("rank 1 takes nothing: nothing has moved for "));
}

TEST_CASE("a peer that sends nothing runs into the timeout", "[comm][peer]") {
  TrafficSizes sizes(2, std::vector<std::vector<int64_t>>(2));
  sizes[1][0] = {10, 10, 10};
  Gate gate;
  StoppingSource source(1, sizes, [&gate] {
    gate.Pass();
    return absl::OkStatus();
  });
  TestSource other(0, sizes);
  PeerPair pair(sizes, {&other, &source}, {.timeout = kShort});
  const Status received = ReceiveAll(*pair.exchanges[0], 0, sizes);
  gate.Open();
  CHECK(received.code() == absl::StatusCode::kDeadlineExceeded);
  CHECK_THAT(Text(received), Contains("rank 1 sends nothing: nothing has moved"
                                      " for "));
}

TEST_CASE("Cancel wakes everybody", "[comm][peer]") {
  PeerPair pair(OneWay({kLarge, 10}));
  std::array<Status, 3> statuses;
  std::array<std::thread, 3> threads = {
      std::thread([&] { statuses[0] = pair.exchanges[0]->Finish(); }),
      std::thread([&] {
        std::vector<std::byte> data(10);  // waits for its turn
        statuses[1] = pair.exchanges[1]->Receive(0, 1, data);
      }),
      std::thread([&] {
        const auto clock = MakeSystemClock();
        clock->SleepFor(std::chrono::milliseconds(20));
        pair.exchanges[1]->Cancel(MakeStatus(absl::StatusCode::kCancelled,
                                             "somebody pressed Ctrl-C"));
        pair.exchanges[1]->Cancel(Internal("too late"));
      })};
  const auto begin = std::chrono::steady_clock::now();
  for (std::thread& thread : threads) thread.join();
  CHECK(std::chrono::steady_clock::now() - begin < kAtOnce);
  CHECK(statuses[0].code() == absl::StatusCode::kUnavailable);
  CHECK(Text(statuses[1]) == "somebody pressed Ctrl-C");
  CHECK(pair.exchanges[1]->Finish() == statuses[1]);
}

TEST_CASE("Cancel wakes a rank that waits for data", "[comm][peer]") {
  const TrafficSizes sizes = OneWay({10, 10, 10});
  Gate gate;
  StoppingSource source(0, sizes, [&gate] {
    gate.Pass();
    return absl::OkStatus();
  });
  TestSource other(1, sizes);
  PeerPair pair(sizes, {&source, &other});
  Status received;
  std::thread receiver(
      [&] { received = ReceiveAll(*pair.exchanges[1], 1, sizes); });
  gate.AwaitWaiting(1);
  pair.exchanges[1]->Cancel(FailedPrecondition("enough"));
  receiver.join();
  gate.Open();
  CHECK(Text(received) == "enough");
}

TEST_CASE("Start and Finish ask whether to proceed", "[comm][peer]") {
  const Status stop = MakeStatus(absl::StatusCode::kCancelled, "stop");
  const TrafficSizes sizes = OneWay({kLarge});
  Listeners listeners = OpenListeners(2);
  const auto addresses = AddressesOf(listeners);
  TestSource source(0, sizes);
  CHECK(PeerExchange::Start(nullptr, TrafficOf(0, sizes, addresses), source,
                            {.proceed = [&] { return stop; }})
            .status() == stop);

  std::atomic<bool> stops = false;
  PeerPair pair(sizes, PeerExchangeOptions{.proceed = [&]() -> Status {
                  return stops ? stop : absl::OkStatus();
                }});
  stops = true;
  CHECK(pair.exchanges[0]->Finish() == stop);
  CHECK(ReceiveAll(*pair.exchanges[1], 1, sizes).code() ==
        absl::StatusCode::kUnavailable);
}

TEST_CASE("a start that failed leaves the listener for those who still wait",
          "[comm][peer]") {
  const TrafficSizes sizes = OneWay({1});
  Listeners listeners = OpenListeners(2);
  const auto addresses = AddressesOf(listeners);
  TestSource source(1, sizes);
  const Status refused =
      MakeStatus(absl::StatusCode::kResourceExhausted, "no thread");
  CHECK(PeerExchange::Start(listeners[1].get(), TrafficOf(1, sizes, addresses),
                            source,
                            {.rank = 1, .proceed = [&] { return refused; }})
            .status() == refused);
  RequireAllOk(OnRanks(2, [&](int rank) {
    return RunRank(std::move(listeners[static_cast<size_t>(rank)]),
                   TrafficOf(rank, sizes, addresses), sizes, {.rank = rank});
  }));
}

TEST_CASE("a rank that does not start is named after the timeout",
          "[comm][peer]") {
  TrafficSizes sizes = RandomSizes(3, 2, 100);
  Listeners listeners = OpenListeners(3);
  const auto addresses = AddressesOf(listeners);
  // Ranks 0 and 1 start, rank 2 does not.
  const auto statuses = OnRanks(2, [&](int rank) {
    return RunRank(std::move(listeners[static_cast<size_t>(rank)]),
                   TrafficOf(rank, sizes, addresses), sizes,
                   {.rank = rank, .timeout = 3 * kShort});
  });
  for (const Status& status : statuses) {
    CHECK(status.code() == absl::StatusCode::kDeadlineExceeded);
    CHECK_THAT(Text(status), Contains("rank(s) 2 do not answer, rank(s) 2 do "
                                      "not come"));
  }
}

TEST_CASE("a rank whose listener is gone cannot be reached", "[comm][peer]") {
  const TrafficSizes sizes = OneWay({1});
  const auto addresses = AddressesOf(OpenListeners(2));
  TestSource source(0, sizes);
  const Status status =
      PeerExchange::Start(nullptr, TrafficOf(0, sizes, addresses), source, {})
          .status();
  CHECK(status.code() == absl::StatusCode::kUnavailable);
  CHECK_THAT(Text(status), Contains("rank 1 cannot be reached: @dcpcpp-") &&
                               Contains("Connection refused; ") &&
                               Contains("127.0.0.1:"));
}

TEST_CASE("ranks whose plans differ are told so", "[comm][peer]") {
  const std::array<TrafficSizes, 2> plans = {OneWay({1, 2}), OneWay({1, 3})};
  Listeners listeners = OpenListeners(2);
  const auto addresses = AddressesOf(listeners);
  const auto statuses = OnRanks(2, [&](int rank) {
    const auto me = static_cast<size_t>(rank);
    return RunRank(std::move(listeners[me]),
                   TrafficOf(rank, plans[me], addresses), plans[me],
                   {.rank = rank});
  });
  for (const Status& status : statuses) {
    CHECK(status.code() == absl::StatusCode::kInternal);
    CHECK_THAT(Text(status),
               Contains("rank 0 has 2 messages of 3 bytes") &&
                   Contains("rank 1, which expects 2 messages of 4 bytes"));
  }
}

TEST_CASE("a rank that sends what nobody expects is told so", "[comm][peer]") {
  // Rank 1 expects something of rank 2, and nothing of rank 0.
  TrafficSizes sizes(3, std::vector<std::vector<int64_t>>(3));
  sizes[2][1] = {5};
  Listeners listeners = OpenListeners(3);
  const auto addresses = AddressesOf(listeners);
  const TrafficSizes other = OneWay({7});
  const auto statuses = OnRanks(2, [&](int rank) {
    return RunRank(std::move(listeners[static_cast<size_t>(rank)]),
                   TrafficOf(rank, rank == 0 ? other : sizes, addresses),
                   rank == 0 ? other : sizes, {.rank = rank});
  });
  for (const Status& status : statuses) {
    CHECK_THAT(Text(status), Contains("rank 0 has 1 messages of 7 bytes") &&
                                 Contains("which expects 0 messages"));
  }
}

TEST_CASE("memory of another size than was said is refused", "[comm][peer]") {
  class WrongSource final : public MessageSource {
   public:
    Status Read(int, size_t, int64_t, std::span<std::byte>) override {
      return absl::OkStatus();
    }
    std::span<const std::byte> Whole(int, size_t) override {
      return std::as_bytes(std::span("abc", 3));
    }
  };
  const TrafficSizes sizes = OneWay({4});
  WrongSource source;
  TestSource other(1, sizes);
  PeerPair pair(sizes, {&source, &other});
  CHECK_THAT(Text(pair.exchanges[0]->Finish()),
             Contains("message 0 for rank 1 has 3 bytes in memory, not 4"));
}

}  // namespace
}  // namespace dcp
