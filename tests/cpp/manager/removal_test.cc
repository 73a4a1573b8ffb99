// How a step's directory goes: whole or not at all.

#include "manager/removal.h"

#include <catch2/catch.hpp>
#include <filesystem>
#include <string>
#include <vector>

#include "manager/run_folder.h"
#include "storage/environment.h"
#include "testing/fault_injection_file_system.h"
#include "testing/temp_directory.h"

namespace dcp {
namespace {

using testing::FaultInjectionFileSystem;

TEST_CASE("names of removals are told from those of steps and users",
          "[manager][removal]") {
  CHECK(IsRemovalName(".step-7.removed-0123abcd"));
  CHECK(IsRemovalName(".step-0.removed-f"));
  for (const char* name :
       {"step-7", ".step-7", ".step-7.removed-", "step-7.removed-0a",
        ".step-x.removed-0a", ".step-7.removed-0G", ".step-7.dcpcpp-0a",
        ".removed-0a", "", "."}) {
    CAPTURE(name);
    CHECK_FALSE(IsRemovalName(name));
  }
}

TEST_CASE("a power cut leaves a step whole or gone", "[manager][removal]") {
  RunOnDisk run;
  run.Put(7, Held::kFull);
  const std::vector<std::string> whole = run.NamesIn("/run/step-7");
  bool is_done = false;
  for (int64_t calls = 1; !is_done; ++calls) {
    CAPTURE(calls);
    RunOnDisk disk;
    disk.Put(7, Held::kFull);
    disk.Put(9, Held::kFull);
    auto fs = std::make_shared<FaultInjectionFileSystem>(
        disk.fs(), testing::FaultScript{.power_cut_after = calls});
    const StorageEnvironment environment = WithDefaults({.file_system = fs});
    const auto removal = TakeStepAway(environment, "/run/step-7");
    is_done = removal.ok() && RemoveTree(*fs, *removal).ok();
    for (const auto policy : {testing::RebootPolicy::kDropUnsynced,
                              testing::RebootPolicy::kKeepAll}) {
      const RunOnDisk after(fs->AfterReboot(policy));
      for (const std::string& name : after.Names()) {
        if (name == "step-7") {
          CHECK(after.NamesIn("/run/step-7") == whole);
        } else {
          CHECK((name == "step-9" || IsRemovalName(name)));
        }
      }
    }
  }
  CHECK(is_done);
}

TEST_CASE("what is being saved is not taken away", "[manager][removal]") {
  RunOnDisk run;
  run.Put(7, Held::kFull);
  const auto lock = run.fs()->Lock("/run/step-7/.dcpcpp.lock", "somebody else");
  REQUIRE(lock.ok());
  const auto removal =
      TakeStepAway(WithDefaults({.file_system = run.fs()}), "/run/step-7");
  CHECK(removal.status().code() == absl::StatusCode::kAborted);
  CHECK_THAT(std::string(Message(removal.status())),
             Catch::Contains("somebody else"));
  CHECK(run.Names() == std::vector<std::string>{"step-7"});
}

TEST_CASE("what ranks save for themselves is not taken away",
          "[manager][removal]") {
  const testing::TempDirectory directory;
  const auto fs = MakePosixFileSystem();
  const std::string step = directory.path() + "/step-7";
  RequireOk(fs->MakeDirectories(step));
  const auto lock = fs->Lock(step + "/.dcpcpp.3.lock", "rank 3");
  REQUIRE(lock.ok());
  const auto removal = TakeStepAway(WithDefaults({.file_system = fs}), step);
  CHECK(removal.status().code() == absl::StatusCode::kAborted);
  CHECK_THAT(std::string(Message(removal.status())), Catch::Contains("rank 3"));
  CHECK(fs->Exists(step).value());
}

TEST_CASE("a directory of other files is not taken away",
          "[manager][removal]") {
  RunOnDisk run;
  RequireOk(run.fs()->MakeDirectories("/run/step-7"));
  RequireOk(WriteFile(*run.fs(), "/run/step-7/model.pt", "", SyncMode::kNone));
  const auto environment = WithDefaults({.file_system = run.fs()});
  const auto removal = TakeStepAway(environment, "/run/step-7");
  CHECK(removal.status().code() == absl::StatusCode::kFailedPrecondition);
  CHECK(run.NamesIn("/run/step-7") == std::vector<std::string>{"model.pt"});
  RequireOk(run.fs()->Remove("/run/step-7/model.pt"));
  RequireOk(TakeStepAway(environment, "/run/step-7").status());
}

TEST_CASE("a dead save's directory beside a step goes with it",
          "[manager][removal]") {
  RunOnDisk run;
  run.Put(7, Held::kHfFile);
  RequireOk(run.fs()->MakeDirectories("/run/.step-7.dcpcpp-0a"));
  RequireOk(run.fs()->MakeDirectories("/run/.step-70.dcpcpp-0a"));
  const auto removal =
      TakeStepAway(WithDefaults({.file_system = run.fs()}), "/run/step-7");
  RequireOk(removal.status());
  RequireOk(RemoveTree(*run.fs(), *removal));
  CHECK(run.Names() == std::vector<std::string>{".step-70.dcpcpp-0a"});
}

TEST_CASE("directories in a step go, and what links lead to stays",
          "[manager][removal]") {
  namespace stdfs = std::filesystem;
  const testing::TempDirectory directory;
  const stdfs::path root(directory.path());
  const auto fs = MakePosixFileSystem();
  for (const char* name : {"kept", "run/step-7/sharded/more", "run/step-9"}) {
    stdfs::create_directories(root / name);
  }
  for (const char* name : {"kept/file", "run/step-7/__0_0.distcp",
                           "run/step-7/sharded/more/file"}) {
    RequireOk(WriteFile(*fs, root / name, "data", SyncMode::kNone));
  }
  stdfs::create_directory_symlink(root / "kept", root / "run/step-7/link");
  stdfs::create_symlink(root / "kept/file", root / "run/step-7/file");
  const auto removal =
      TakeStepAway(WithDefaults({.file_system = fs}), root / "run/step-7");
  RequireOk(removal.status());
  CHECK_FALSE(stdfs::exists(root / "run/step-7"));
  RequireOk(RemoveTree(*fs, *removal));
  RequireOk(RemoveTree(*fs, *removal));  // nothing is there any more
  CHECK(stdfs::exists(root / "kept/file"));
  std::vector<std::string> left;
  for (const auto& entry : stdfs::directory_iterator(root / "run")) {
    left.push_back(entry.path().filename());
  }
  CHECK(left == std::vector<std::string>{"step-9"});
}

}  // namespace
}  // namespace dcp
