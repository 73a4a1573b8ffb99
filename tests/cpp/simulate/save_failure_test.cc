#include <catch2/catch.hpp>

#include "dcp/simulate_save.h"
#include "simulate/simulated_saves.h"

namespace dcp {
namespace {

/// Two nodes of two ranks, which write for 20 s, and publish for 10.
SaveSimulationOptions SlowOptions() {
  SaveSimulationOptions options = FreeOptions();
  options.ranks_per_node = 2;
  options.rates.node = 0.1e9;
  options.costs.publish = 10;
  return options;
}

SaveSimulation FailedBy(const SaveFailure& failure, size_t ranks = 4) {
  SaveSimulationOptions options = SlowOptions();
  options.failure = failure;
  return Simulated(EvenWork(ranks), options);
}

TEST_CASE("a process that ends is seen by those of its node", "[simulate]") {
  const SaveSimulation save =
      FailedBy({.kind = SaveFailureKind::kKilled, .number = 3, .at = 7.25});
  CHECK(save.end == SaveEnd::kFailed);
  REQUIRE(save.loss);
  CHECK(save.loss->ranks == 1);
  CHECK(save.loss->seconds == 7.25);
  CHECK(save.loss->noticed == Approx(7.35));
  CHECK(save.loss->writing == 3);
  CHECK(save.seconds == Approx(7.45));
  CHECK(SecondsOf(save, "total").least == Approx(7.45));
}

TEST_CASE("a process that ends alone on its node is missed like one that hangs",
          "[simulate]") {
  const SaveSimulation alone =
      FailedBy({.kind = SaveFailureKind::kKilled, .number = 4, .at = 7.25}, 5);
  CHECK(alone.loss->noticed == 22);
  const SaveSimulation hung =
      FailedBy({.kind = SaveFailureKind::kHung, .number = 3, .at = 7.25});
  CHECK(hung.loss->noticed == 22);
  CHECK(hung.end == SaveEnd::kFailed);
  CHECK(hung.seconds == Approx(22.1));
  // The other rank of its node had the disk for itself then.
  CHECK(hung.loss->writing == 0);
  CHECK(SecondsOf(hung, "meet").most > 5);
}

TEST_CASE("a lost node is missed when it has given no sign for a heartbeat",
          "[simulate]") {
  const SaveSimulation save =
      FailedBy({.kind = SaveFailureKind::kNodeLost, .number = 1, .at = 3.75});
  CHECK(save.loss->ranks == 2);
  CHECK(save.loss->noticed == 18);
  CHECK(save.end == SaveEnd::kFailed);
  CHECK(save.last_rank < 2);
}

TEST_CASE("the coordinator's end is seen by all, and counts before the rename",
          "[simulate]") {
  const SaveSimulation before =
      FailedBy({.kind = SaveFailureKind::kKilled, .number = 0, .at = 29.0});
  CHECK(before.end == SaveEnd::kFailed);
  CHECK(before.loss->noticed == Approx(29.1));
  SaveSimulationOptions options = SlowOptions();
  options.costs.latency = 2;  // its verdict is on its way
  const double ended = Simulated(EvenWork(4), options).seconds;
  options.failure = SaveFailure{
      .kind = SaveFailureKind::kKilled, .number = 0, .at = ended - 1};
  const SaveSimulation after = Simulated(EvenWork(4), options);
  CHECK(after.end == SaveEnd::kInDoubt);
  CHECK(after.loss);
}

TEST_CASE("what is published without a rank that had written is in doubt",
          "[simulate]") {
  const auto when = GENERATE(SavePhase::kPlan, SavePhase::kWrite,
                             SavePhase::kMeet, SavePhase::kCommit);
  SaveSimulationOptions options = SlowOptions();
  options.costs.latency = 0.5;
  options.failure =
      SaveFailure{.kind = SaveFailureKind::kKilled, .number = 1, .at = when};
  const SaveSimulation save = Simulated(EvenWork(4), options);
  const bool has_sent = when == SavePhase::kCommit;
  CHECK(save.end == (has_sent ? SaveEnd::kInDoubt : SaveEnd::kFailed));
  REQUIRE(save.loss);
  CHECK(save.loss->writing == (has_sent || when == SavePhase::kMeet ? 0 : 3));
}

TEST_CASE("storage that hangs is an error of its ranks, which all learn",
          "[simulate]") {
  const SaveSimulation save =
      FailedBy({.kind = SaveFailureKind::kNodeStalls, .number = 1, .at = 5.0});
  CHECK(save.end == SaveEnd::kFailed);
  REQUIRE(save.loss);
  CHECK(save.loss->noticed == 305);
  CHECK(save.seconds == Approx(305));
  CHECK(SecondsOf(save, "meet").most == Approx(285).epsilon(0.01));
  CHECK(SecondsOf(save, "meet").least == 0);
}

TEST_CASE("storage that hangs when all is written there changes nothing",
          "[simulate]") {
  const SaveSimulation save =
      FailedBy({.kind = SaveFailureKind::kNodeStalls, .number = 1, .at = 21.0});
  CHECK(save.end == SaveEnd::kSaved);
  CHECK_FALSE(save.loss);
  const SaveSimulation commit =
      FailedBy({.kind = SaveFailureKind::kNodeStalls, .number = 0, .at = 21.0});
  CHECK(commit.end == SaveEnd::kFailed);
  CHECK(commit.seconds == Approx(321));
}

TEST_CASE("a failure after the save is none of it", "[simulate]") {
  const SaveSimulation save =
      FailedBy({.kind = SaveFailureKind::kKilled, .number = 1, .at = 100.0});
  CHECK(save.end == SaveEnd::kSaved);
  CHECK_FALSE(save.loss);
  CHECK(save.seconds == save.even_seconds);
}

TEST_CASE("a job that is lost as a whole has nothing to tell", "[simulate]") {
  const SaveSimulation save =
      FailedBy({.kind = SaveFailureKind::kNodeLost, .number = 0, .at = 1.0}, 2);
  CHECK(save.end == SaveEnd::kFailed);
  CHECK(save.seconds == 0);
  CHECK(SecondsOf(save, "total").most == 0);
}

TEST_CASE("who fails has to be there", "[simulate]") {
  const auto code = [](const SaveSimulationOptions& options) {
    return SimulateSave(EvenWork(4), options).status().code();
  };
  constexpr auto kInvalid = absl::StatusCode::kInvalidArgument;
  SaveSimulationOptions options = SlowOptions();
  options.failure = SaveFailure{.kind = SaveFailureKind::kHung, .number = 4};
  CHECK(code(options) == kInvalid);
  options.failure =
      SaveFailure{.kind = SaveFailureKind::kNodeLost, .number = 2};
  CHECK(code(options) == kInvalid);
  options.failure = SaveFailure{.at = -1.0};
  CHECK(code(options) == kInvalid);
}

}  // namespace
}  // namespace dcp
