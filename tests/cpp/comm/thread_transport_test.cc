#include <catch2/catch.hpp>
#include <string>
#include <utility>

#include "conformance/transport_conformance.h"
#include "dcp/transport.h"

namespace dcp {
namespace {

using Catch::Matchers::Contains;

std::string Text(const Status& status) { return std::string(Message(status)); }

TEST_CASE("thread transports are transports", "[comm]") {
  CheckTransport(MakeThreadTransports);
}

TEST_CASE("ranks that call different methods are told so", "[comm]") {
  Transports transports = MakeThreadTransports(2, kAmpleSeconds);
  const std::vector<Status> statuses =
      OnAllRanks(transports, [](Transport& transport) {
        if (transport.rank() == 0) return transport.AwaitAll("write");
        return transport.Gather("plan").status();
      });
  for (const Status& status : statuses) {
    CHECK(status.code() == absl::StatusCode::kFailedPrecondition);
    CHECK_THAT(Text(status), Contains("AwaitAll(\"write\")"));
    CHECK_THAT(Text(status), Contains("Gather"));
  }
}

TEST_CASE("ranks that await different phases are told so", "[comm]") {
  Transports transports = MakeThreadTransports(2, kAmpleSeconds);
  const std::vector<Status> statuses =
      OnAllRanks(transports, [](Transport& transport) {
        return transport.AwaitAll(transport.rank() == 0 ? "write" : "read");
      });
  CHECK(statuses[0].code() == absl::StatusCode::kFailedPrecondition);
  CHECK(statuses[1] == statuses[0]);
}

TEST_CASE("after a failure every call of every rank fails", "[comm]") {
  Transports transports = MakeThreadTransports(3, kShortSeconds);
  const Status first = transports[1]->Gather("plan").status();
  CHECK(first.code() == absl::StatusCode::kDeadlineExceeded);
  CHECK_THAT(Text(first), Contains("rank(s) 0 2"));
  CHECK(transports[0]->Gather("plan").status() == first);
  CHECK(transports[2]->AwaitAll("write") == first);
}

TEST_CASE("a rank that leaves fails those that wait for it", "[comm]") {
  Transports transports = MakeThreadTransports(2, kAmpleSeconds);
  std::unique_ptr<Transport> other = std::move(transports[1]);
  transports.pop_back();
  std::thread leaver([&other] { other.reset(); });
  const Status status = transports[0]->Broadcast("x").status();
  leaver.join();
  CHECK(status.code() == absl::StatusCode::kAborted);
  CHECK_THAT(Text(status), Contains("rank 1 is gone"));
}

TEST_CASE("a rank may leave as soon as its last call returned", "[comm]") {
  for (int trial = 0; trial < 200; ++trial) {
    Transports transports = MakeThreadTransports(4, kAmpleSeconds);
    std::vector<Status> statuses(4);
    std::vector<std::thread> threads;
    for (size_t rank = 0; rank < 4; ++rank) {
      threads.emplace_back([&, rank] {
        statuses[rank] = transports[rank]->AwaitAll("commit");
        transports[rank].reset();
      });
    }
    for (std::thread& thread : threads) thread.join();
    RequireAllOk(statuses);
  }
}

TEST_CASE("Scatter needs one message a rank", "[comm]") {
  Transports transports = MakeThreadTransports(2, kAmpleSeconds);
  const std::vector<std::string> three(3);
  const std::vector<Status> statuses = OnAllRanks(
      transports,
      [&](Transport& transport) { return transport.Scatter(three).status(); });
  CHECK(statuses[0].code() == absl::StatusCode::kInvalidArgument);
  CHECK(statuses[1].code() == absl::StatusCode::kInvalidArgument);
}

}  // namespace
}  // namespace dcp
