#include <catch2/catch.hpp>
#include <string>

#include "dcp/simulate.h"

namespace dcp {
namespace {

PlanSimulation Simulate(const PlanSimulationOptions& options) {
  const auto result = SimulatePlan(options);
  INFO(Message(result.status()));
  REQUIRE(result.ok());
  return *result;
}

void RequireTimes(const std::vector<PlanStep>& steps) {
  REQUIRE_FALSE(steps.empty());
  for (const PlanStep& step : steps) {
    REQUIRE_FALSE(step.name.empty());
    REQUIRE(step.seconds >= 0);
  }
}

TEST_CASE("both modes plan every byte of a job once", "[simulate]") {
  const auto mode = GENERATE(PlanningMode::kClosedForm, PlanningMode::kGather);
  struct Case {
    std::string model;
    ParallelDegrees degrees;
  };
  const auto job =
      GENERATE(Case{"llama3-70b", {.dp = 16}},
               Case{"llama3-405b", {.dp_replicate = 2, .dp = 2, .tp = 4}},
               Case{"deepseek-v3", {.dp = 4, .tp = 2, .pp = 2, .ep = 8}});
  const PlanSimulation result =
      Simulate({.model = job.model, .degrees = job.degrees, .mode = mode});
  CHECK(result.ranks == job.degrees.ranks());
  CHECK(result.ranks_planned == result.ranks);
  CHECK(result.specs == job.degrees.pp);
  RequireTimes(result.rank_steps);
  RequireTimes(result.coordinator_steps);
  REQUIRE(result.outcome);
  const PlanOutcome& outcome = *result.outcome;
  CHECK(outcome.mean_load_nbytes == result.nbytes / result.ranks);
  CHECK(outcome.max_load_nbytes >= outcome.mean_load_nbytes);
  CHECK(outcome.items > 0);
  CHECK(outcome.metadata_nbytes > 50 * outcome.items);
  CHECK(outcome.metadata_ranks == result.ranks);
  // Parameters and two moments, of 4 bytes an element; steps and biases.
  CHECK(result.nbytes > 12 * (result.elements - 20'000));
  CHECK(result.nbytes < 12 * result.elements + 8 * result.tensors);
}

TEST_CASE("shards of one size are an even load", "[simulate]") {
  const PlanSimulation flat =
      Simulate({.model = "llama3-70b", .degrees = {.dp = 16}});
  CHECK(static_cast<double>(flat.outcome->max_load_nbytes) <=
        1.05 * static_cast<double>(flat.outcome->mean_load_nbytes));
}

// What a rank offers, and the name of the plan in reply, sealed.
constexpr int64_t kAgreementNbytes = 37 + 21;

TEST_CASE("an unchanged state costs an offer a rank and the name of its plan",
          "[simulate]") {
  const PlanSimulation result =
      Simulate({.model = "llama3-70b", .degrees = {.dp = 8, .pp = 2}});
  CHECK(result.unchanged_save.messages == 2 * 15);
  CHECK(result.unchanged_save.nbytes == kAgreementNbytes * 15);
  // Both states to each rank, and the second one to the coordinator.
  CHECK(result.first_save.messages == 6 * 15);
  CHECK(result.first_save.nbytes > 15 * 100'000);
  CHECK(result.first_save.nbytes < 17 * 150'000);
}

TEST_CASE("a state that all ranks have is not sent", "[simulate]") {
  const PlanSimulation result =
      Simulate({.model = "llama3-70b", .degrees = {.dp = 16}});
  CHECK(result.first_save.messages == 2 * 15);
  CHECK(result.first_save.nbytes == kAgreementNbytes * 15);
  CHECK(result.unchanged_save.nbytes == kAgreementNbytes * 15);
}

TEST_CASE("what would not be planned in closed form is told", "[simulate]") {
  // 32 states, where 16 are the most for so few ranks (plan_decider.cc).
  const auto result =
      SimulatePlan({.model = "llama3-70b", .degrees = {.pp = 32}});
  CHECK(result.status().code() == absl::StatusCode::kUnimplemented);
  CHECK_THAT(std::string(Message(result.status())),
             Catch::Contains("32 ranks would send their plans"));
}

TEST_CASE("gathered plans cost the same with every save", "[simulate]") {
  const PlanSimulation result = Simulate({.model = "llama3-70b",
                                          .degrees = {.dp = 16},
                                          .mode = PlanningMode::kGather});
  CHECK(result.first_save.messages == 2 * 15);
  CHECK(result.first_save.nbytes > 15 * 2892);
  CHECK(result.unchanged_save.nbytes == result.first_save.nbytes);
}

TEST_CASE("a sample of ranks tells what all would write", "[simulate]") {
  PlanSimulationOptions options{.model = "llama3-70b",
                                .degrees = {.dp = 64, .tp = 4}};
  const PlanSimulation all = Simulate(options);
  options.max_items = 40 * 2892;
  const PlanSimulation some = Simulate(options);
  CHECK(all.ranks_planned == 256);
  CHECK(some.ranks_planned > 20);
  CHECK(some.ranks_planned <= 40);
  CHECK(some.first_save.nbytes == all.first_save.nbytes);
  CHECK(static_cast<double>(some.outcome->items) ==
        Approx(static_cast<double>(all.outcome->items)).epsilon(0.05));
  CHECK(
      static_cast<double>(some.outcome->metadata_nbytes) ==
      Approx(static_cast<double>(all.outcome->metadata_nbytes)).epsilon(0.05));
  CHECK(
      static_cast<double>(some.outcome->mean_load_nbytes) ==
      Approx(static_cast<double>(all.outcome->mean_load_nbytes)).epsilon(0.05));
}

TEST_CASE("of a sample of gathered plans only the exchange is told",
          "[simulate]") {
  PlanSimulationOptions options{.model = "llama3-70b",
                                .degrees = {.dp = 64},
                                .mode = PlanningMode::kGather};
  const PlanSimulation all = Simulate(options);
  options.max_items = 10 * 2892;
  const PlanSimulation some = Simulate(options);
  CHECK(some.ranks_planned < 64);
  CHECK_FALSE(some.outcome);
  CHECK(some.first_save.messages == all.first_save.messages);
  CHECK(static_cast<double>(some.first_save.nbytes) ==
        Approx(static_cast<double>(all.first_save.nbytes)).epsilon(0.1));
}

TEST_CASE("what cannot be simulated is an error", "[simulate]") {
  CHECK(SimulatePlan({.model = "llama3-70b", .max_items = 0}).status().code() ==
        absl::StatusCode::kInvalidArgument);
  CHECK(SimulatePlan({.model = "gpt"}).status().code() ==
        absl::StatusCode::kInvalidArgument);
}

}  // namespace
}  // namespace dcp
