#include "checkpoint/rank_exchange.h"

#include <catch2/catch.hpp>
#include <cerrno>
#include <string>
#include <utility>
#include <vector>

#include "checkpoint/rank_threads.h"

namespace dcp {
namespace {

using Exchange = std::function<StatusOr<std::string>(Transport&)>;

std::vector<StatusOr<std::string>> Exchanged(const Exchange& exchange) {
  const auto transports = MakeThreadTransports(3, kRankTimeoutSeconds);
  return OnRanks<StatusOr<std::string>>(
      3, [&](size_t rank) { return exchange(*transports[rank]); });
}

StatusOr<std::vector<std::string>> Doubled(std::vector<std::string> payloads) {
  for (std::string& payload : payloads) payload += payload;
  return payloads;
}

StatusOr<std::string> Joined(const std::vector<std::string>& payloads) {
  std::string all;
  for (const std::string& payload : payloads) all += payload + ",";
  return all;
}

TEST_CASE("a message is a payload or an error, with all of its parts",
          "[checkpoint]") {
  for (const std::string& payload :
       {std::string(), std::string("x"), std::string("\0E", 2)}) {
    CHECK(OpenMessage(SealMessage(payload)).value() == payload);
  }
  const Status error = ErrnoToStatus(ENOSPC, {.op = "pwrite", .path = "/f"});
  const auto opened = OpenMessage(SealMessage(error));
  CHECK(opened.status() == error);
  CHECK(GetErrorDetail(opened.status())->error_number == ENOSPC);
  for (const char* garbled : {"", "X", "E", "Exyz"}) {
    CHECK(OpenMessage(garbled).status().code() == absl::StatusCode::kDataLoss);
  }
}

TEST_CASE("every rank gets its own part of what the coordinator makes",
          "[checkpoint]") {
  const auto results = Exchanged([](Transport& t) {
    return ReduceScatter(t, "plan", std::to_string(t.rank()), Doubled);
  });
  RequireAllSucceed(results);
  for (size_t rank = 0; rank < 3; ++rank) {
    CHECK(*results[rank] == std::to_string(rank) + std::to_string(rank));
  }
}

TEST_CASE("all get the same, or the same failures", "[checkpoint]") {
  for (int failing : {-1, 0, 2}) {
    const auto results = Exchanged([&](Transport& t) {
      StatusOr<std::string> mine = std::to_string(t.rank());
      if (t.rank() == failing) mine = NotFound("nothing here");
      return AllReduce(t, "write", mine, Joined);
    });
    if (failing < 0) {
      RequireAllSucceed(results);
      for (const auto& result : results) CHECK(*result == "0,1,2,");
      continue;
    }
    const RankFailures failures = RequireSameFailures(results);
    CHECK(failures.phase == "write");
    REQUIRE(failures.by_rank.count(failing) == 1);
    CHECK(failures.by_rank.at(failing).code() == absl::StatusCode::kNotFound);
    CHECK(results[1].status().code() == absl::StatusCode::kNotFound);
  }
}

TEST_CASE("an error of the coordinator's own work carries its rank",
          "[checkpoint]") {
  const auto reduced = Exchanged([](Transport& t) {
    return ReduceScatter(t, "plan", std::string(),
                         [](const auto&) -> StatusOr<std::vector<std::string>> {
                           return InvalidArgument("no plan fits");
                         });
  });
  CHECK(RequireSameFailures(reduced).by_rank.count(0) == 1);
  const auto broadcast = Exchanged([](Transport& t) {
    return BroadcastFrom(t, "read", [&]() -> StatusOr<std::string> {
      if (t.rank() != 0) return Internal("asked of another rank");
      return InvalidArgument("nothing to send");
    });
  });
  CHECK(RequireSameFailures(broadcast).by_rank.count(0) == 1);
}

}  // namespace
}  // namespace dcp
