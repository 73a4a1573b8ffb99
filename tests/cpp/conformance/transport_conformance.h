// What every Transport must do: call CheckTransport from a TEST_CASE with a
// factory of the implementation's transports for the ranks of one job.

#ifndef DCP_TESTS_CONFORMANCE_TRANSPORT_CONFORMANCE_H_
#define DCP_TESTS_CONFORMANCE_TRANSPORT_CONFORMANCE_H_

#include <catch2/catch.hpp>
#include <chrono>
#include <cstdint>
#include <cstring>
#include <functional>
#include <memory>
#include <random>
#include <string>
#include <thread>
#include <vector>

#include "dcp/transport.h"

namespace dcp {

/// Transports of `world_size` ranks, by rank, whose collectives fail after
/// `timeout_seconds`.
using TransportFactory = std::function<std::vector<std::unique_ptr<Transport>>(
    int world_size, double timeout_seconds)>;

/// For collectives that must not fail, however slow the machine.
inline constexpr double kAmpleSeconds = 120;
/// For those that are to fail.
inline constexpr double kShortSeconds = 0.1;

using Transports = std::vector<std::unique_ptr<Transport>>;

/// Runs `body` once for each transport, each in a thread of its own, and
/// returns their statuses by rank.
inline std::vector<Status> OnAllRanks(
    Transports& transports, const std::function<Status(Transport&)>& body) {
  std::vector<Status> statuses(transports.size());
  std::vector<std::thread> threads;
  for (size_t rank = 0; rank < transports.size(); ++rank) {
    threads.emplace_back(
        [&, rank] { statuses[rank] = body(*transports[rank]); });
  }
  for (std::thread& thread : threads) thread.join();
  return statuses;
}

inline void RequireAllOk(const std::vector<Status>& statuses) {
  for (size_t rank = 0; rank < statuses.size(); ++rank) {
    INFO("rank " << rank << ": " << Message(statuses[rank]));
    REQUIRE(statuses[rank].ok());
  }
}

/// OK if `actual` is `expected`; for threads, which must not REQUIRE.
inline Status Expect(const std::string& actual, const std::string& expected) {
  if (actual == expected) return absl::OkStatus();
  return Internal("got " + std::to_string(actual.size()) + " bytes \"" +
                  actual.substr(0, 40) + "\", expected " +
                  std::to_string(expected.size()) + " bytes \"" +
                  expected.substr(0, 40) + "\"");
}

/// The bytes that `sender` sends in `round`.
inline std::string TestMessage(int sender, int round, size_t nbytes) {
  std::minstd_rand random(static_cast<unsigned>(sender * 1000 + round + 1));
  std::string message(nbytes, '\0');
  size_t at = 0;
  for (; at + 4 <= nbytes; at += 4) {
    const auto word = static_cast<uint32_t>(random());
    std::memcpy(&message[at], &word, sizeof(word));
  }
  for (; at < nbytes; ++at) message[at] = static_cast<char>(random());
  return message;
}

/// One Gather, Scatter and Broadcast of messages of `nbytes`, checked.
inline Status ExchangeOnce(Transport& transport, int round, size_t nbytes) {
  const int me = transport.rank();
  const bool coordinates = me == transport.coordinator();
  const auto message = [&](int sender, int kind) {
    return TestMessage(sender, round * 3 + kind, nbytes);
  };
  DCP_ASSIGN_OR_RETURN(const std::vector<std::string> gathered,
                       transport.Gather(message(me, 0)));
  const auto expected_count =
      static_cast<size_t>(coordinates ? transport.world_size() : 0);
  if (gathered.size() != expected_count) {
    return Internal("gathered " + std::to_string(gathered.size()));
  }
  for (size_t i = 0; i < gathered.size(); ++i) {
    DCP_RETURN_IF_ERROR(Expect(gathered[i], message(static_cast<int>(i), 0)));
  }
  std::vector<std::string> to_scatter;
  for (int i = 0; coordinates && i < transport.world_size(); ++i) {
    to_scatter.push_back(message(i, 1));
  }
  DCP_ASSIGN_OR_RETURN(const std::string scattered,
                       transport.Scatter(to_scatter));
  DCP_RETURN_IF_ERROR(Expect(scattered, message(me, 1)));
  const std::string mine =
      coordinates ? message(me, 2) : "what other ranks pass does not matter";
  DCP_ASSIGN_OR_RETURN(const std::string shared, transport.Broadcast(mine));
  return Expect(shared, message(transport.coordinator(), 2));
}

inline void CheckExchanges(const TransportFactory& make) {
  SECTION("every rank knows itself") {
    const Transports transports = make(5, kAmpleSeconds);
    REQUIRE(transports.size() == 5);
    for (int rank = 0; rank < 5; ++rank) {
      const Transport& transport = *transports[static_cast<size_t>(rank)];
      CHECK(transport.rank() == rank);
      CHECK(transport.world_size() == 5);
      CHECK(transport.coordinator() == transports[0]->coordinator());
    }
  }
  SECTION("messages arrive by rank, round after round") {
    for (int world_size : {1, 2, 7}) {
      Transports transports = make(world_size, kAmpleSeconds);
      RequireAllOk(OnAllRanks(transports, [](Transport& transport) -> Status {
        for (int round = 0; round < 100; ++round) {
          DCP_RETURN_IF_ERROR(ExchangeOnce(transport, round, 100));
          DCP_RETURN_IF_ERROR(transport.AwaitAll("write"));
        }
        return absl::OkStatus();
      }));
    }
  }
  SECTION("messages may be empty") {
    Transports transports = make(3, kAmpleSeconds);
    RequireAllOk(OnAllRanks(transports, [](Transport& transport) {
      return ExchangeOnce(transport, 0, 0);
    }));
  }
  SECTION("messages may be large") {
    Transports transports = make(2, kAmpleSeconds);
    RequireAllOk(OnAllRanks(transports, [](Transport& transport) {
      return ExchangeOnce(transport, 0, size_t{64} << 20);
    }));
  }
}

inline void CheckFailures(const TransportFactory& make) {
  SECTION("a rank that does not come is named when the deadline passes") {
    Transports transports = make(3, kShortSeconds);
    const std::vector<Status> statuses =
        OnAllRanks(transports, [](Transport& transport) {
          if (transport.rank() == 2) return absl::OkStatus();
          return transport.Gather("plan").status();
        });
    // Where senders need not wait, the coordinator alone knows.
    const auto coordinator = static_cast<size_t>(transports[0]->coordinator());
    CHECK(statuses[coordinator].code() == absl::StatusCode::kDeadlineExceeded);
    CHECK_THAT(std::string(Message(statuses[coordinator])),
               Catch::Matchers::Contains("2"));
  }
  SECTION("ranks that wait for a late coordinator fail") {
    Transports transports = make(2, kShortSeconds);
    const std::vector<Status> statuses =
        OnAllRanks(transports, [](Transport& transport) {
          if (transport.rank() == transport.coordinator()) {
            return absl::OkStatus();
          }
          return transport.Broadcast("").status();
        });
    CHECK(statuses[1].code() == absl::StatusCode::kDeadlineExceeded);
  }
  SECTION("AwaitAll outlasts the timeout of collectives") {
    Transports transports = make(2, kShortSeconds);
    RequireAllOk(OnAllRanks(transports, [](Transport& transport) {
      if (transport.rank() == 1) {  // stands for bulk I/O
        std::this_thread::sleep_for(
            std::chrono::duration<double>(5 * kShortSeconds));
      }
      return transport.AwaitAll("write");
    }));
  }
  SECTION("AwaitAll fails when a rank is gone") {
    Transports transports = make(3, kAmpleSeconds);
    std::unique_ptr<Transport> gone = std::move(transports.back());
    transports.pop_back();
    std::thread leaver([&gone] { gone.reset(); });
    const std::vector<Status> statuses = OnAllRanks(
        transports,
        [](Transport& transport) { return transport.AwaitAll("write"); });
    leaver.join();
    for (const Status& status : statuses) {
      CHECK(status.code() == absl::StatusCode::kAborted);
      CHECK_THAT(std::string(Message(status)), Catch::Matchers::Contains("2"));
    }
  }
}

/// The whole suite.
inline void CheckTransport(const TransportFactory& make) {
  CheckExchanges(make);
  CheckFailures(make);
}

}  // namespace dcp

#endif  // DCP_TESTS_CONFORMANCE_TRANSPORT_CONFORMANCE_H_
