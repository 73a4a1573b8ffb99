#include "dcp/simulate_save.h"

#include <catch2/catch.hpp>
#include <cmath>
#include <numeric>

#include "simulate/simulated_saves.h"

namespace dcp {
namespace {

// Units of a gigabyte are 4 MiB, and each limit but the slowest costs one.
Approx About(double seconds) { return Approx(seconds).epsilon(0.02); }

TEST_CASE("what has no limit and no cost takes no time", "[simulate]") {
  const SaveSimulation save = Simulated(EvenWork(4), FreeOptions());
  CHECK(save.seconds == 0);
  CHECK(save.end == SaveEnd::kSaved);
  CHECK(save.nbytes == 4 * kGb);
  CHECK(save.files == 4);
  CHECK(save.nodes == 1);
}

TEST_CASE("the slowest limit on the way decides, shared by those who use it",
          "[simulate]") {
  SaveSimulationOptions options = FreeOptions();
  options.ranks_per_node = 4;
  double seconds = 0;
  SECTION("each rank's own") {
    options.rates.rank = 0.5e9;
    seconds = 2;
  }
  SECTION("the memory of a node") {
    options.rates.rank = 3e9;
    options.rates.memory = 2e9;
    seconds = 2;
  }
  SECTION("the disk of a node") {
    options.rates.rank = 3e9;
    options.rates.node = 0.5e9;
    seconds = 8;
  }
  SECTION("what all nodes write to") {
    options.rates.node = 4e9;
    options.rates.storage = 0.8e9;
    seconds = 10;
  }
  SECTION("a rank's copies from its device") {
    options.rates.device = 0.25e9;
    options.rates.rank = 5e9;
    seconds = 4;
  }
  const SaveSimulation save = Simulated(EvenWork(8), options);
  CHECK(save.nodes == 2);
  CHECK(save.seconds == About(seconds));
  // A rank may be through by its buffers earlier than the last one.
  CHECK(SecondsOf(save, "write").least == Approx(seconds).epsilon(0.1));
}

TEST_CASE("a rank alone on its node has all of its disk", "[simulate]") {
  SaveSimulationOptions options = FreeOptions();
  options.ranks_per_node = 2;
  options.rates.node = 1e9;
  const SaveSimulation save = Simulated(EvenWork(3), options);
  CHECK(SecondsOf(save, "write").least == About(1));
  CHECK(SecondsOf(save, "write").most == About(2));
  CHECK(SecondsOf(save, "meet").most == About(1));
  CHECK(save.node_nbytes.most == 2 * kGb);
  CHECK(save.node_nbytes.least == kGb);
}

TEST_CASE("an asynchronous save blocks until all that ranks hold is staged",
          "[simulate]") {
  SaveWork work = EvenWork(2);
  work.held_nbytes = {4 * kGb, 4 * kGb};
  SaveSimulationOptions options = FreeOptions();
  options.rates.device = 2e9;
  options.rates.node = 1e9;
  options.is_async = true;
  const SaveSimulation async = Simulated(work, options);
  CHECK(SecondsOf(async, "blocked").most == About(2));
  CHECK(SecondsOf(async, "stage").most == About(2));
  CHECK(async.seconds >= 2);
  CHECK(async.seconds < 2.3);  // it writes while it stages

  options.is_async = false;
  const SaveSimulation sync = Simulated(work, options);
  CHECK(SecondsOf(sync, "blocked").most == sync.seconds);
  CHECK(sync.seconds == About(2));
  CHECK(SecondsOf(sync, "stage").most < sync.seconds);
}

TEST_CASE("the coordinator's messages come one after the other", "[simulate]") {
  SaveSimulationOptions options = FreeOptions();
  options.costs.message = 1e-3;
  SaveWork work = EvenWork(101);
  work.planning = {.messages = 200};
  // Arrival, an offer and the answers to both; results and the verdict.
  CHECK(Simulated(work, options).seconds == Approx(0.6));
  work.planning = {.messages = 600};
  CHECK(Simulated(work, options).seconds == Approx(1.0));
  options.rates.messages = 1e6;
  work.planning.nbytes = 500'000;
  const double results = 101e9 / (1 << 20) * 4 / 1e6;  // a CRC-32 a mebibyte
  CHECK(Simulated(work, options).seconds == Approx(1.5 + results));
  work.metadata_nbytes = 10'000;
  CHECK(Simulated(work, options).seconds == Approx(2.5 + results));
}

TEST_CASE("costs of the coordinator are paid once by all", "[simulate]") {
  SaveSimulationOptions options = FreeOptions();
  options.costs.item = 1e-6;
  options.costs.metadata_byte = 1e-9;
  options.costs.publish = 0.25;
  options.costs.file = 0.125;
  options.costs.start = 0.5;
  SaveWork work = EvenWork(4);
  work.items = 1'000'000;
  work.metadata_nbytes = kGb / 2;
  const SaveSimulation save = Simulated(work, options);
  CHECK(SecondsOf(save, "plan").most == Approx(1.5));
  CHECK(SecondsOf(save, "write").most == Approx(0.125));
  CHECK(SecondsOf(save, "commit").most == Approx(1.75));
}

TEST_CASE("who waits looks the less often the longer it takes", "[simulate]") {
  SaveSimulationOptions options = FreeOptions();
  options.costs.poll = 0.05;
  options.rates.node = 1e9;
  options.ranks_per_node = 1;
  SaveWork work = EvenWork(2);
  work.written_nbytes[0] = 0;
  const SaveSimulation save = Simulated(work, options);
  CHECK(SecondsOf(save, "meet").most == About(1.025));
  CHECK(SecondsOf(save, "meet").least == 0);
}

TEST_CASE("a rank that writes nothing has no file", "[simulate]") {
  SaveSimulationOptions options = FreeOptions();
  options.costs.file = 1;
  SaveWork work = EvenWork(2);
  work.written_nbytes[1] = 0;
  const SaveSimulation save = Simulated(work, options);
  CHECK(save.files == 1);
  CHECK(SecondsOf(save, "write").least == 0);
  CHECK(save.last_rank == 0);
}

TEST_CASE("a simulated job is saved byte by byte", "[simulate]") {
  const PlanSimulationOptions job{
      .model = "llama3-70b", .degrees = {.dp_replicate = 2, .dp = 8, .tp = 2}};
  const auto plan = SimulatePlan(job);
  const auto work = PlanSaveWork(job);
  REQUIRE(plan.ok());
  REQUIRE(work.ok());
  const auto sum = [](const std::vector<int64_t>& values) {
    return std::accumulate(values.begin(), values.end(), int64_t{0});
  };
  CHECK(sum(work->written_nbytes) == plan->nbytes);
  // Two replicas, and what tensor parallelism does not shard.
  CHECK(sum(work->held_nbytes) > 2 * plan->nbytes);
  CHECK(sum(work->held_nbytes) < 2 * plan->nbytes + plan->nbytes / 100);
  CHECK(work->planning.nbytes == plan->first_save.nbytes);
  CHECK(work->metadata_nbytes == plan->outcome->metadata_nbytes);
  CHECK(SimulateSave(*work, {}).ok());
}

TEST_CASE("ranks of a sample stand for those beside them", "[simulate]") {
  const PlanSimulationOptions job{.model = "llama3-70b",
                                  .degrees = {.dp = 64, .tp = 4},
                                  .max_items = 40 * 2892};
  const auto work = PlanSaveWork(job);
  REQUIRE(work.ok());
  CHECK(work->ranks_planned < 256);
  REQUIRE(work->written_nbytes.size() == 256);
  REQUIRE(work->held_nbytes.size() == 256);
  CHECK(work->written_nbytes[0] == work->written_nbytes[1]);
  CHECK(SimulateSave(*work, {}).ok());
}

TEST_CASE("what cannot be saved is an error", "[simulate]") {
  const auto code = [](const SaveWork& work,
                       const SaveSimulationOptions& options) {
    return SimulateSave(work, options).status().code();
  };
  constexpr auto kInvalid = absl::StatusCode::kInvalidArgument;
  CHECK(code({}, {}) == kInvalid);
  SaveWork work = EvenWork(2);
  CHECK(code(work, {.ranks_per_node = 0}) == kInvalid);
  CHECK(code(work, {.rates = {.node = -1}}) == kInvalid);
  CHECK(code(work, {.costs = {.poll = HUGE_VAL}}) == kInvalid);
  CHECK(code(work, {.timeouts = {.heartbeat = 0}}) == kInvalid);
  CHECK(code(work, {.buffer_nbytes = 0}) == kInvalid);
  work.held_nbytes[1] = 1;
  CHECK(code(work, {}) == kInvalid);
  work.held_nbytes.pop_back();
  CHECK(code(work, {}) == kInvalid);
  CHECK(PlanSaveWork({.model = "llama3-70b",
                      .degrees = {.dp = 64},
                      .mode = PlanningMode::kGather,
                      .max_items = 10 * 2892})
            .status()
            .code() == kInvalid);
}

}  // namespace
}  // namespace dcp
