#include "dcp/clean.h"

#include <catch2/catch.hpp>
#include <cerrno>
#include <memory>
#include <string>
#include <vector>

#include "checkpoint/rank_threads.h"
#include "storage/damage.h"
#include "storage/directory_claim.h"
#include "testing/fault_injection_file_system.h"
#include "testing/temp_directory.h"

namespace dcp {
namespace {

using conformance::CheckHolds;
using conformance::SmallState;

class CleanFixture {
 protected:
  void SaveAndLeave() {
    RequireAllSucceed(SaveOnRanks(Sharded(SmallState(1), 2),
                                  NativeStorage(NativePlace{.fs = fs_})));
    PutFile(*fs_, "/ckpt/.dcpcpp-12", "sidecar");
    PutFile(*fs_, "/ckpt/__0_7.distcp", "data");
    PutFile(*fs_, "/ckpt/config.json", "{}");
  }

  StatusOr<std::vector<std::string>> Clean(const CleanOptions& options = {}) {
    const auto found = CleanCheckpoint("/ckpt", options, {.file_system = fs_});
    if (!found.ok()) return found.status();
    std::vector<std::string> lines;
    for (const Leftover& leftover : *found) {
      lines.push_back(leftover.name + " " + std::to_string(leftover.nbytes));
    }
    return lines;
  }

  std::shared_ptr<FileSystem> fs_ = MakeMemoryFileSystem();
};

const std::vector<std::string> kLeft = {".dcpcpp-12 7", "__0_7.distcp 4"};

TEST_CASE_METHOD(CleanFixture, "what is left over goes, and nothing else",
                 "[clean]") {
  SaveAndLeave();
  CHECK(Clean({.dry_run = true}).value() == kLeft);
  CHECK(Clean().value() == kLeft);
  CHECK(Clean().value().empty());
  CHECK(GetFile(*fs_, "/ckpt/config.json") == "{}");
  CheckHolds(NativeStorage(NativePlace{.fs = fs_}), SmallState(1));
}

TEST_CASE_METHOD(CleanFixture, "nothing is cleaned while a save is at work",
                 "[clean]") {
  SaveAndLeave();
  const auto clock = MakeSystemClock();
  const auto claim =
      ClaimDirectory(fs_, clock, {.directory = "/ckpt", .save_id = "dcpcpp-1"});
  REQUIRE(claim.ok());
  CHECK(Clean().status().code() == absl::StatusCode::kAborted);
  CHECK(fs_->Exists("/ckpt/__0_7.distcp").value());
}

TEST_CASE_METHOD(CleanFixture, "nothing is cleaned while a rank saves alone",
                 "[clean]") {
  SaveAndLeave();
  const auto clock = MakeSystemClock();
  const auto claim = ClaimDirectory(fs_, clock,
                                    {.directory = "/ckpt",
                                     .rank = 1,
                                     .use_collectives = false,
                                     .save_id = "dcpcpp-1"});
  REQUIRE(claim.ok());
  CHECK(Clean().status().code() == absl::StatusCode::kAborted);
  CHECK(fs_->Exists("/ckpt/__0_7.distcp").value());
}

TEST_CASE_METHOD(CleanFixture, "what could not be removed is an error",
                 "[clean]") {
  SaveAndLeave();
  const auto faulty = std::make_shared<testing::FaultInjectionFileSystem>(fs_);
  faulty->Restart(
      {.faults = {{.op = testing::FsOp::kRemove, .error_number = EACCES}}});
  const Status status =
      CleanCheckpoint("/ckpt", {}, {.file_system = faulty}).status();
  CHECK(status.code() == absl::StatusCode::kPermissionDenied);
  CHECK_THAT(std::string(Message(status)), Catch::Contains("__0_7.distcp"));
  CHECK(fs_->Exists("/ckpt/.dcpcpp-12").value());
  CHECK(Clean().value() == kLeft);
}

TEST_CASE_METHOD(CleanFixture, "in doubt nothing is cleaned", "[clean]") {
  SaveAndLeave();
  SECTION("metadata that cannot be read") {
    PutFile(*fs_, "/ckpt/__5.metadata", "no pickle");
    CHECK(Clean().status().code() == absl::StatusCode::kDataLoss);
  }
  SECTION("data without metadata") {
    REQUIRE(fs_->Remove("/ckpt/.metadata").ok());
    CHECK(Clean().status().code() == absl::StatusCode::kFailedPrecondition);
  }
  CHECK(fs_->Exists("/ckpt/__0_7.distcp").value());
  CHECK(fs_->Exists("/ckpt/.dcpcpp-12").value());
}

TEST_CASE("the lock of a dead first save makes its data left over", "[clean]") {
  const testing::TempDirectory directory;
  const auto fs = MakePosixFileSystem();
  PutFile(*fs, directory.path() + "/__0_0.distcp", "data");
  CHECK(CleanCheckpoint(directory.path()).status().code() ==
        absl::StatusCode::kFailedPrecondition);
  PutFile(*fs, directory.path() + "/.dcpcpp.lock", "");
  // Ranks at work, one with data and one without: they do not change that.
  for (const std::string name : {"/.dcpcpp.0.lock", "/.dcpcpp.5.lock"}) {
    const auto of_rank = fs->Lock(directory.path() + name, "a save");
    REQUIRE(of_rank.ok());
    CHECK(CleanCheckpoint(directory.path()).status().code() ==
          absl::StatusCode::kAborted);
  }
  CHECK(CleanCheckpoint(directory.path(), {.dry_run = true})->size() == 1);
  CHECK(CleanCheckpoint(directory.path())->size() == 1);
  CHECK(fs->List(directory.path())->empty());
  CHECK(CleanCheckpoint(directory.path() + "/missing").status().code() ==
        absl::StatusCode::kNotFound);
}

}  // namespace
}  // namespace dcp
