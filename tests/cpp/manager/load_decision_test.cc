// What a run loads when it starts: tables.

#include <catch2/catch.hpp>
#include <string>
#include <utility>
#include <variant>
#include <vector>

#include "manager/run_folder.h"

namespace dcp {
namespace {

using Catch::Matchers::Contains;

StepFacts Step(int64_t number, StepExtent extent = StepExtent::kFull) {
  return {.directory = {.step = number, .path = RunOnDisk::PathOf(number)},
          .extent = extent};
}

StepFacts Model(int64_t number) { return Step(number, StepExtent::kModelOnly); }

StepFacts Broken(int64_t number) {
  StepFacts step = Step(number);
  step.fault = NotFound("no .metadata");
  return step;
}

RunFolder Folder(std::vector<StepFacts> steps) {
  return {.path = "/run", .steps = std::move(steps)};
}

InitialCheckpoint Pretrained() {
  return {.path = "/models/base", .format = CheckpointFormat::kSafetensors};
}

/// "fresh", "initial <path>", "step 7" or "model of step 7".
std::string Source(const LoadDecision& decision) {
  if (const auto* initial = std::get_if<InitialCheckpoint>(&decision.source)) {
    return "initial " + initial->path;
  }
  const auto* step = std::get_if<StepToLoad>(&decision.source);
  if (step == nullptr) return "fresh";
  return (step->extent == StepExtent::kFull ? "step " : "model of step ") +
         std::to_string(step->directory.step);
}

/// The same, and the warnings, each in a line.
std::string Decided(const RunFolder& folder, const LoadRules& rules) {
  const auto decision = DecideLoad(folder, rules);
  INFO(std::string(Message(decision.status())));
  REQUIRE(decision.ok());
  std::string text = Source(*decision);
  for (const std::string& warning : decision->warnings) text += "\n" + warning;
  return text;
}

std::string Refused(const RunFolder& folder, const LoadRules& rules,
                    absl::StatusCode code) {
  const Status status = DecideLoad(folder, rules).status();
  CHECK(status.code() == code);
  return std::string(Message(status));
}

TEST_CASE("a run without steps starts afresh, or from what it was given",
          "[manager][load]") {
  const RunFolder none{.path = "/run", .exists = false};
  CHECK(Decided(none, {}) == "fresh");
  CHECK(Decided(Folder({}), {}) == "fresh");
  CHECK(Decided(none, {.initial = Pretrained()}) == "initial /models/base");
  CHECK(Decided(Folder({}), {.initial = Pretrained()}) ==
        "initial /models/base");
  CHECK(Decided(none, {.require_full_resume = true}) == "fresh");
}

TEST_CASE("a run goes on from its newest step, whatever it was given to start",
          "[manager][load]") {
  const RunFolder folder = Folder({Step(20), Step(10)});
  CHECK(Decided(folder, {}) == "step 20");
  CHECK(Decided(folder, {.initial = Pretrained()}) == "step 20");
}

TEST_CASE("steps that cannot be loaded are passed over, and told",
          "[manager][load]") {
  CHECK(Decided(Folder({Broken(30), Broken(20), Step(10)}), {}) ==
        "step 10\nskipped /run/step-30: no .metadata\n"
        "skipped /run/step-20: no .metadata");
}

TEST_CASE("steps of which none can be loaded are no fresh start",
          "[manager][load]") {
  const RunFolder folder =
      Folder({Broken(50), Broken(40), Broken(30), Broken(20)});
  for (const LoadRules& rules :
       {LoadRules{}, LoadRules{.initial = Pretrained()}}) {
    const std::string message =
        Refused(folder, rules, absl::StatusCode::kFailedPrecondition);
    CHECK_THAT(message, Contains("none of the 4 steps in /run can be loaded") &&
                            Contains("/run/step-50: no .metadata") &&
                            Contains("; ...") && Contains("begin anew"));
    CHECK_THAT(message, !Contains("step-20"));
  }
}

TEST_CASE("a newer step of the model only is not resumed", "[manager][load]") {
  CHECK(Decided(Folder({Model(30), Broken(20), Step(10), Step(5)}), {}) ==
        "step 10\n"
        "/run/step-30 holds the model only; the newest full checkpoint is "
        "/run/step-10\n"
        "skipped /run/step-20: no .metadata");
  CHECK(Decided(Folder({Model(30), Step(10)}), {.require_full_resume = true})
            .starts_with("step 10\n"));
}

TEST_CASE("without a full step the model is loaded, and the loss told",
          "[manager][load]") {
  const RunFolder folder = Folder({Broken(40), Model(30), Model(20)});
  const std::string text = Decided(folder, {});
  CHECK(text.starts_with("model of step 30\n"));
  CHECK_THAT(text, Contains("skipped /run/step-40") &&
                       Contains("the optimizer and the other states are lost"));
  CHECK_THAT(Refused(folder, {.require_full_resume = true},
                     absl::StatusCode::kFailedPrecondition),
             Contains("require_full_resume") && Contains("/run/step-30"));
}

TEST_CASE("of step 0 the model alone is loaded, which is no loss",
          "[manager][load]") {
  for (const StepFacts& seed : {Step(0), Model(0)}) {
    const RunFolder folder = Folder({seed});
    CHECK(Decided(folder, {}) == "model of step 0");
    CHECK(Decided(folder, {.load_step = 0}) == "model of step 0");
    CHECK(Decided(folder, {.require_full_resume = true}) == "model of step 0");
  }
  CHECK(Decided(Folder({Step(10), Step(0)}), {}) == "step 10");
  CHECK(Decided(Folder({Model(10), Step(0)}), {})
            .starts_with("model of step 10\n"));
}

TEST_CASE("a step that was asked for is the one that is loaded",
          "[manager][load]") {
  const RunFolder folder = Folder({Step(30), Model(20), Step(10)});
  CHECK(Decided(folder, {.load_step = 10}) == "step 10");
  CHECK(Decided(folder, {.load_step = 30}) == "step 30");
  CHECK(Decided(folder, {.load_step = 20})
            .starts_with("model of step 20\n/run/step-20 holds the model"));
  CHECK_THAT(Refused(folder, {.load_step = 20, .require_full_resume = true},
                     absl::StatusCode::kFailedPrecondition),
             Contains("/run/step-20"));
}

TEST_CASE(
    "a step that was asked for and is not there is told in TorchTitan's "
    "words",
    "[manager][load]") {
  constexpr auto kCode = absl::StatusCode::kNotFound;
  CHECK(Refused({.path = "/run", .exists = false}, {.load_step = 7}, kCode) ==
        "--checkpoint.load_step=7 not found because checkpoint.folder /run "
        "does not exist");
  CHECK(Refused(Folder({Step(10)}), {.load_step = 7, .initial = Pretrained()},
                kCode) == "--checkpoint.load_step=7 not found at /run/step-7");
  StepFacts damaged = Step(7);
  damaged.fault = DataLoss("no sidecar");
  CHECK(Refused(Folder({Step(10), damaged}), {.load_step = 7},
                absl::StatusCode::kDataLoss) ==
        "--checkpoint.load_step=7 cannot be loaded from /run/step-7: no "
        "sidecar");
  CHECK_THAT(Refused(Folder({}), {.load_step = -2},
                     absl::StatusCode::kInvalidArgument),
             Contains("-2"));
}

TEST_CASE("of two directories of one step the one that loads is taken",
          "[manager][load]") {
  StepFacts padded = Broken(7);
  padded.directory.path = "/run/step-007";
  CHECK(Decided(Folder({padded, Step(7)}), {.load_step = 7}) == "step 7");
}

}  // namespace
}  // namespace dcp
