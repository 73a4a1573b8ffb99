// CheckpointManager on files: what it finds, and what it does about it.

#include <catch2/catch.hpp>
#include <filesystem>
#include <fstream>
#include <string>
#include <variant>
#include <vector>

#include "dcp/manager.h"
#include "manager/run_folder.h"
#include "testing/temp_directory.h"

namespace dcp {
namespace {

using Catch::Matchers::Contains;

StepToLoad Loaded(const RunOnDisk& run, const LoadRules& rules = {}) {
  const auto decision = run.Manager()->FindLoad(rules);
  INFO(std::string(Message(decision.status())));
  REQUIRE(decision.ok());
  REQUIRE(std::holds_alternative<StepToLoad>(decision->source));
  return std::get<StepToLoad>(decision->source);
}

TEST_CASE("a manager tells full steps, those of the model and broken ones",
          "[manager]") {
  RunOnDisk run;
  run.Put(1, Held::kFull);
  run.Put(2, Held::kModel);
  run.Put(3, Held::kHfFile);
  run.Put(4, Held::kHalfNative);
  run.Put(5, Held::kHalfHf);
  RequireOk(run.Manager()->Pin(2));
  const auto folder = run.Manager()->Survey();
  RequireOk(folder.status());
  CHECK(folder->exists);
  REQUIRE(folder->steps.size() == 5);
  const auto& steps = folder->steps;
  CHECK_THAT(std::string(Message(steps[0].fault)),
             Contains("/run/step-5") && Contains("index.json"));
  CHECK_THAT(std::string(Message(steps[1].fault)), Contains("/run/step-4"));
  CHECK(steps[2].format == CheckpointFormat::kSafetensors);
  CHECK(steps[2].extent == StepExtent::kModelOnly);
  CHECK(steps[3].format == CheckpointFormat::kDcp);
  CHECK(steps[3].extent == StepExtent::kModelOnly);
  CHECK(steps[3].is_pinned);
  CHECK(steps[4].extent == StepExtent::kFull);
  CHECK_FALSE(steps[4].is_pinned);
}

TEST_CASE("keys that only begin like a state's are the model's", "[manager]") {
  RunOnDisk run;
  run.Put(1, Held::kFull);
  const auto extent = [&](std::vector<std::string> keys) {
    return run.Manager({.state_keys = std::move(keys)})
        ->Survey()
        ->steps.at(0)
        .extent;
  };
  CHECK(extent({"optimizer"}) == StepExtent::kFull);
  CHECK(extent({"optim"}) == StepExtent::kModelOnly);
  CHECK(extent({"ema", "optimizer.state"}) == StepExtent::kFull);
  CHECK(extent({}) == StepExtent::kFull);
}

TEST_CASE("a run goes on after a last save in safetensors from the full step",
          "[manager][load]") {
  RunOnDisk run;
  run.Put(10, Held::kFull);
  run.Put(20, Held::kFull);
  run.Put(30, Held::kHfFile);
  run.Put(40, Held::kHalfNative);
  const StepToLoad step = Loaded(run);
  CHECK(step.directory.path == "/run/step-20");
  CHECK(step.extent == StepExtent::kFull);
  CHECK(Loaded(run, {.load_step = 30}).format ==
        CheckpointFormat::kSafetensors);
  CHECK(run.Manager()->FindLoad({.load_step = 40}).status().code() ==
        absl::StatusCode::kNotFound);
}

TEST_CASE("safetensors put into step 0 are a seed", "[manager][load]") {
  RunOnDisk run;
  run.Put(0, Held::kHfFile);
  const StepToLoad step = Loaded(run);
  CHECK(step.format == CheckpointFormat::kSafetensors);
  CHECK(step.extent == StepExtent::kModelOnly);
}

TEST_CASE("what a run is to start from must be there if it is used",
          "[manager][load]") {
  RunOnDisk run;
  RequireOk(run.fs()->MakeDirectories("/models/base"));
  const auto manager = run.Manager();
  const auto from = [&](const std::string& path, InitialOrigin origin) {
    return manager
        ->FindLoad(
            {.initial = InitialCheckpoint{.path = path, .origin = origin}})
        .status();
  };
  RequireOk(from("/models/base", InitialOrigin::kInitialLoadPath));
  const Status no_path = from("/nowhere", InitialOrigin::kInitialLoadPath);
  CHECK(no_path.code() == absl::StatusCode::kInvalidArgument);
  CHECK(std::string(Message(no_path)) ==
        "Checkpoint.initial_load_path is invalid: /nowhere");
  CHECK_THAT(
      std::string(Message(from("/nowhere", InitialOrigin::kHfAssetsPath))),
      Catch::StartsWith("model.hf_assets_path is being used to load HF weights "
                        "but the path is not valid. "));
  run.Put(10, Held::kFull);
  RequireOk(from("/nowhere", InitialOrigin::kInitialLoadPath));
}

TEST_CASE("a plan of removals is what is removed", "[manager][retention]") {
  RunOnDisk run;
  for (int64_t step = 1; step <= 6; ++step) run.Put(step, Held::kFull);
  const auto manager = run.Manager({.keep_latest_k = 2});
  RequireOk(manager->Pin(2));
  RequireOk(manager->BeginSave(1));
  const auto plan = manager->PlanRetention();
  RequireOk(plan.status());
  CHECK(Numbers(plan->removed) == std::vector<int64_t>{4, 3});
  CHECK(plan->kept.size() == 4);
  CHECK(run.Names().size() == 6);
  const auto report = manager->ApplyRetention();
  RequireOk(report.status());
  CHECK(Numbers(report->removed) == std::vector<int64_t>{4, 3});
  REQUIRE(report->kept.size() == 4);
  CHECK(report->kept[2].directory.path == "/run/step-2");
  CHECK(report->kept[2].reason == KeepReason::kPinned);
  CHECK(report->kept[3].reason == KeepReason::kInUse);
  CHECK(run.Names() ==
        std::vector<std::string>{"step-1", "step-2", "step-5", "step-6"});
  manager->EndSave(1, Internal("it failed"));
  RequireOk(manager->Unpin(2));
  RequireOk(manager->ApplyRetention().status());
  CHECK(run.Names() == std::vector<std::string>{"step-5", "step-6"});
}

TEST_CASE("a step that another process saves into stays, and it is told",
          "[manager][retention]") {
  RunOnDisk run;
  for (int64_t step = 1; step <= 4; ++step) run.Put(step, Held::kFull);
  const auto lock = run.fs()->Lock("/run/step-1/.dcpcpp.lock", "a conversion");
  const auto report = run.Manager({.keep_latest_k = 2})->ApplyRetention();
  RequireOk(report.status());
  CHECK(Numbers(report->removed) == std::vector<int64_t>{2});
  REQUIRE(report->not_removed.size() == 1);
  CHECK(report->not_removed[0].path == "/run/step-1");
  CHECK_THAT(report->not_removed[0].reason, Contains("a conversion"));
}

TEST_CASE(
    "steps count as kept only if their data is whole, where that is asked",
    "[manager][retention]") {
  RunOnDisk run;
  for (int64_t step = 1; step <= 3; ++step) run.Put(step, Held::kFull);
  // The data of these steps is no data: they are committed, not verified.
  const auto manager = run.Manager(
      {.keep_latest_k = 2, .retention_check = StepCheck::kVerified});
  CHECK(manager->PlanRetention()->removed.empty());
  CHECK(Numbers(run.Manager({.keep_latest_k = 2})->PlanRetention()->removed) ==
        std::vector<int64_t>{1});
}

TEST_CASE("a step that is a link can be loaded, stays and counts for nothing",
          "[manager][retention]") {
  namespace stdfs = std::filesystem;
  const testing::TempDirectory place;
  const stdfs::path root(place.path());
  const auto put = [&](const stdfs::path& step) {
    stdfs::create_directories(step);
    for (const auto& [name, content] : FilesOf(Held::kFull)) {
      std::ofstream(step / name, std::ios::binary) << content;
    }
  };
  for (const char* name : {"run/step-1", "run/step-2", "run/step-3"}) {
    put(root / name);
  }
  put(root / "other/step-9");
  stdfs::create_directory_symlink("../other/step-9", root / "run/step-0");
  stdfs::create_directory_symlink("../other/step-9", root / "run/step-9");
  const auto manager =
      CheckpointManager::Make({.folder = root / "run", .keep_latest_k = 2})
          .value();
  const auto start = manager->FindLoad({});
  RequireOk(start.status());
  CHECK(std::get<StepToLoad>(start->source).directory.step == 9);
  const auto report = manager->ApplyRetention();
  RequireOk(report.status());
  CHECK(Numbers(report->removed) == std::vector<int64_t>{1});
  CHECK(report->not_removed.empty());
  REQUIRE(report->kept.size() == 4);
  CHECK(report->kept.front().reason == KeepReason::kLinked);
  CHECK(report->kept.back().reason == KeepReason::kLinked);
  CHECK(stdfs::exists(root / "run/step-9/.metadata"));
  CHECK(stdfs::is_symlink(root / "run/step-0"));
}

TEST_CASE("what a killed removal left goes with the next retention",
          "[manager][retention]") {
  RunOnDisk run;
  run.Put(1, Held::kFull);
  RequireOk(run.fs()->MakeDirectories("/run/.step-9.removed-0a/sharded"));
  RequireOk(run.fs()->MakeDirectories("/run/.step-9"));
  RequireOk(run.Manager({.keep_latest_k = 0})->ApplyRetention().status());
  CHECK(run.Names() == std::vector<std::string>{".step-9", "step-1"});
}

TEST_CASE("pins need a step, and can be set twice", "[manager]") {
  RunOnDisk run;
  run.Put(1, Held::kHfFile);
  const auto manager = run.Manager();
  CHECK(manager->Pin(2).code() == absl::StatusCode::kNotFound);
  CHECK(manager->Unpin(2).code() == absl::StatusCode::kNotFound);
  RequireOk(manager->Pin(1));
  RequireOk(manager->Pin(1));
  CHECK(run.fs()->Exists("/run/step-1/.dcpcpp.pin").value());
  RequireOk(manager->Unpin(1));
  RequireOk(manager->Unpin(1));
  CHECK_FALSE(run.fs()->Exists("/run/step-1/.dcpcpp.pin").value());
}

TEST_CASE("a step cannot be saved twice at a time", "[manager]") {
  RunOnDisk run;
  const auto manager = run.Manager();
  CHECK(manager->StepPath(7) == "/run/step-7");
  RequireOk(manager->BeginSave(7));
  CHECK(manager->BeginSave(7).code() == absl::StatusCode::kFailedPrecondition);
  RequireOk(manager->BeginSave(8));
  manager->EndSave(7, absl::OkStatus());
  RequireOk(manager->BeginSave(7));
}

TEST_CASE("a folder that is not there has no steps", "[manager]") {
  const auto manager = CheckpointManager::Make(
      {.folder = "/nowhere"}, {.file_system = MakeMemoryFileSystem()});
  RequireOk(manager.status());
  CHECK_FALSE((*manager)->Survey()->exists);
  CHECK((*manager)->ApplyRetention()->removed.empty());
  CHECK(std::holds_alternative<FreshStart>((*manager)->FindLoad({})->source));
}

}  // namespace
}  // namespace dcp
