#include <catch2/catch.hpp>

#include "dcp/simulate_save.h"
#include "simulate/simulated_saves.h"

namespace dcp {
namespace {

TEST_CASE("a slow rank is waited for, however long", "[simulate]") {
  SaveSimulationOptions options = FreeOptions();
  options.rates.rank = 1e9;
  options.slow = {{.who = SaveMember::kRank, .number = 2, .factor = 400}};
  const SaveSimulation save = Simulated(EvenWork(4), options);
  CHECK(save.even_seconds == Approx(1));
  CHECK(save.seconds == Approx(400));
  CHECK(save.last_rank == 2);
  CHECK(SecondsOf(save, "meet").median == Approx(399));
  CHECK(SecondsOf(save, "meet").least == 0);
}

TEST_CASE("a slow node holds back its own ranks, and all who wait for them",
          "[simulate]") {
  SaveSimulationOptions options = FreeOptions();
  options.ranks_per_node = 2;
  options.rates.node = 0.1e9;
  options.slow = {{.who = SaveMember::kNode, .number = 1, .factor = 2}};
  const SaveSimulation save = Simulated(EvenWork(4), options);
  CHECK(SecondsOf(save, "write").least == Approx(20).epsilon(0.05));
  CHECK(SecondsOf(save, "write").most == Approx(40).epsilon(0.01));
  CHECK(save.last_rank >= 2);
}

TEST_CASE("stragglers are drawn by the seed alone", "[simulate]") {
  SaveSimulationOptions options = FreeOptions();
  options.rates.rank = 1e9;
  options.stragglers = 3;
  options.straggler_factor = 2;
  options.seed = 11;
  const SaveWork work = EvenWork(100);
  const SaveSimulation save = Simulated(work, options);
  CHECK(SecondsOf(save, "write").p99 == Approx(2));
  CHECK(SecondsOf(save, "write").mean == Approx(1.03));
  CHECK(Simulated(work, options).last_rank == save.last_rank);
  bool differs = false;
  for (options.seed = 0; options.seed < 5; ++options.seed) {
    differs |= Simulated(work, options).last_rank != save.last_rank;
  }
  CHECK(differs);
}

TEST_CASE("who is slow has to be there, and slower than others", "[simulate]") {
  const auto code = [](const SaveSimulationOptions& options) {
    return SimulateSave(EvenWork(4), options).status().code();
  };
  constexpr auto kInvalid = absl::StatusCode::kInvalidArgument;
  SaveSimulationOptions options = FreeOptions();
  options.slow = {{.who = SaveMember::kNode, .number = -1}};
  CHECK(code(options) == kInvalid);
  options.slow = {{.number = 1, .factor = 0.5}};
  CHECK(code(options) == kInvalid);
  options.slow.clear();
  options.stragglers = 5;
  CHECK(code(options) == kInvalid);
}

}  // namespace
}  // namespace dcp
