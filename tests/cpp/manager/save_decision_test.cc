// What a run saves at which step, and which options it may have.

#include <catch2/catch.hpp>
#include <limits>
#include <optional>
#include <string>

#include "dcp/manager.h"

namespace dcp {
namespace {

constexpr auto kInside = StepPlace::kInside;
constexpr auto kLast = StepPlace::kLast;

TEST_CASE("a run saves in intervals, and whatever its last step is",
          "[manager]") {
  const SaveRules rules{.interval = 10, .last_save_model_only = false};
  for (const int64_t step : {1, 5, 9, 11, 19, 101}) {
    CAPTURE(step);
    CHECK(DecideSave(rules, step, kInside) == std::nullopt);
    CHECK(DecideSave(rules, step, kLast) == StepExtent::kFull);
  }
  for (const int64_t step : {10, 20, 100}) {
    CHECK(DecideSave(rules, step, kInside) == StepExtent::kFull);
  }
}

TEST_CASE("the first step is saved if it is asked for", "[manager]") {
  CHECK(DecideSave({}, 1, kInside) == std::nullopt);
  const SaveRules rules{.enable_first_step_checkpoint = true};
  CHECK(DecideSave(rules, 1, kInside) == StepExtent::kFull);
  CHECK(DecideSave(rules, 2, kInside) == std::nullopt);
}

TEST_CASE("only the last save is of the model alone", "[manager]") {
  const SaveRules rules{.interval = 5, .last_save_model_only = true};
  CHECK(DecideSave(rules, 5, kInside) == StepExtent::kFull);
  CHECK(DecideSave(rules, 5, kLast) == StepExtent::kModelOnly);
  CHECK(DecideSave(rules, 0, kLast) == StepExtent::kModelOnly);
}

TEST_CASE("a run that only loads never saves", "[manager]") {
  const SaveRules rules{
      .interval = 1, .enable_first_step_checkpoint = true, .load_only = true};
  for (const int64_t step : {0, 1, 2}) {
    CHECK(DecideSave(rules, step, kInside) == std::nullopt);
    CHECK(DecideSave(rules, step, kLast) == std::nullopt);
  }
}

std::string Refusal(const ManagerOptions& options) {
  const Status status = CheckManagerOptions(options);
  const Status made = CheckpointManager::Make(options).status();
  CHECK(made.code() == status.code());
  if (status.ok()) return "";
  CHECK(status.code() == absl::StatusCode::kInvalidArgument);
  return std::string(Message(status));
}

TEST_CASE("options that make no sense are refused in TorchTitan's words",
          "[manager]") {
  CHECK(Refusal({.folder = "checkpoint"}).empty());
  CHECK(Refusal({.folder = "c", .save = {.interval = 1}}).empty());
  CHECK(Refusal({.folder = "c", .keep_latest_k = 0}).empty());
  CHECK(Refusal({.folder = "c", .keep_latest_k = 2}).empty());
  for (const char* blank : {"", " ", "\t \n"}) {
    CHECK(Refusal({.folder = blank}) == "The 'folder' field cannot be empty.");
  }
  for (const int64_t interval :
       {int64_t{0}, int64_t{-500}, std::numeric_limits<int64_t>::min()}) {
    CHECK(Refusal({.folder = "c", .save = {.interval = interval}}) ==
          "Checkpoint interval needs to be at least 1 step.");
  }
  CHECK(Refusal({.folder = "c", .keep_latest_k = -1}) ==
        "keep_latest_k cannot be negative.");
  CHECK(Refusal({.folder = "c", .keep_latest_k = 1}) ==
        "We need to maintain at least 2 checkpoint replicas, as the last one "
        "may be in the process of being saved.");
}

}  // namespace
}  // namespace dcp
