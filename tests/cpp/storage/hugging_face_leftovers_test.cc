// What saves of safetensors files leave when they are killed, and who clears
// it up.

#include <catch2/catch.hpp>
#include <memory>
#include <string>
#include <vector>

#include "conformance/check_files.h"
#include "dcp/clean.h"
#include "storage/hugging_face_cases.h"
#include "testing/fault_injection_file_system.h"

namespace dcp {
namespace {

using conformance::MustReadFile;
using testing::FaultInjectionFileSystem;
using testing::FsOp;
using Names = std::vector<std::string>;

enum class When : uint8_t { kBefore, kAfter };

/// A save of kNewModel on `disk` that is killed at call number `call` of kind
/// `op`.
std::shared_ptr<FileSystem> DiedAt(const std::shared_ptr<FileSystem>& disk,
                                   FsOp op, int64_t call, When when) {
  const SaveOfModel save{.save_id = "dcpcpp-bb", .model = kNewModel};
  const auto copy = FaultInjectionFileSystem(disk).AfterReboot(
      testing::RebootPolicy::kKeepAll);
  const auto trial = std::make_shared<FaultInjectionFileSystem>(copy);
  DCP_CHECK_OK(SaveModel(trial, save));
  int64_t n = 0;
  for (const testing::FsCall& made : trial->log()) {
    if (call == 0) break;
    ++n;
    if (made.op == op) --call;
  }
  REQUIRE(call == 0);
  const auto fs = std::make_shared<FaultInjectionFileSystem>(
      disk, testing::FaultScript{.power_cut_after =
                                     when == When::kAfter ? n : n - 1});
  SaveModel(fs, save).IgnoreError();
  return fs->AfterReboot(testing::RebootPolicy::kKeepAll);
}

TEST_CASE("what came too late for the exchange is carried over", "[storage]") {
  // The second exchange: the first is a trial.
  const auto fs = DiedAt(DiskWithOld(), FsOp::kExchange, 2, When::kAfter);
  CHECK(FindModel(fs).Is(kNewModel));
  const std::string old = kModelParent + "/.model.dcpcpp-bb";
  REQUIRE(fs->Exists(old).value());
  DCP_CHECK_OK(WriteFile(*fs, old + "/late", "late", SyncMode::kNone));
  DCP_CHECK_OK(fs->MakeDirectories(old + "/logs"));
  Names expected = {"late", "logs"};
  SECTION("by the next save") {
    DCP_CHECK_OK(SaveModel(fs, {.save_id = "dcpcpp-cc", .model = kOldModel}));
    CHECK(FindModel(fs).Is(kOldModel));
  }
  SECTION("by a cleaning") {
    const auto found = CleanCheckpoint(kModel, {}, {.file_system = fs});
    REQUIRE(found.ok());
    REQUIRE(found->size() == 1);
    CHECK((*found)[0].name == "../.model.dcpcpp-bb");
    CHECK((*found)[0].nbytes > 1200);
    CHECK(FindModel(fs).Is(kNewModel));
  }
  CHECK(NamesIn(*fs, kModelParent) == Names{"model"});
  CHECK(MustReadFile(*fs, kModel + "/late") == "late");
  CHECK(fs->Exists(kModel + "/logs").value());
}

TEST_CASE("a sibling that was never exchanged goes with all its files",
          "[storage]") {
  const auto fs = DiedAt(DiskWithOld(), FsOp::kExchange, 1, When::kAfter);
  CHECK(FindModel(fs).Is(kOldModel));
  const std::string sibling = kModelParent + "/.model.dcpcpp-bb";
  REQUIRE(fs->Exists(sibling).value());
  DCP_CHECK_OK(WriteFile(*fs, sibling + "/x", "x", SyncMode::kNone));
  DCP_CHECK_OK(fs->MakeDirectories(kModelParent + "/.model2.dcpcpp-bb"));
  REQUIRE(CleanCheckpoint(kModel, {.dry_run = true}, {.file_system = fs}).ok());
  REQUIRE(fs->Exists(sibling).value());
  REQUIRE(CleanCheckpoint(kModel, {}, {.file_system = fs}).ok());
  CHECK(NamesIn(*fs, kModelParent) == Names{".model2.dcpcpp-bb", "model"});
  CHECK(NamesIn(*fs, kModel) == Names{".dcpcpp-aa", "model.safetensors"});
  CHECK(FindModel(fs).Is(kOldModel));
}

TEST_CASE("files of a save that died before its commit are cleaned",
          "[storage]") {
  // The third rename is that of the index.
  const auto fs = DiedAt(EmptyDisk(), FsOp::kRename, 3, When::kBefore);
  CHECK(NamesIn(*fs, kModel) == Names{".dcpcpp-bb", ".dcpcpp-bb.tmp",
                                      "model-00001-of-00002.safetensors",
                                      "model-00002-of-00002.safetensors"});
  CHECK(FindModel(fs).problem == "none");
  // Of another size, it is somebody else's.
  DCP_CHECK_OK(fs->Remove(kModel + "/model-00001-of-00002.safetensors"));
  PutInModel(*fs, "model-00001-of-00002.safetensors", "theirs");
  DCP_CHECK_OK(WriteFile(*fs, kModel + "/model.safetensors",
                         BytesOfShard(kOldModel, 0).all, SyncMode::kNone));
  const auto found = CleanCheckpoint(kModel, {}, {.file_system = fs});
  REQUIRE(found.ok());
  CHECK(NamesIn(*fs, kModel) ==
        Names{"model-00001-of-00002.safetensors", "model.safetensors"});
}

TEST_CASE("the sidecar of safetensors in force is not left over", "[storage]") {
  const auto fs = EmptyDisk();
  const SmallModel model = GENERATE(kOldModel, kNewModel);
  DCP_CHECK_OK(SaveModel(fs, {.model = model}));
  PutInModel(*fs, ".dcpcpp-77", "half a sidecar");
  PutInModel(*fs, ".dcpcpp-77.0.shard", "half a file");
  const auto found = CleanCheckpoint(kModel, {}, {.file_system = fs});
  REQUIRE(found.ok());
  CHECK(found->size() == 2);
  CHECK(FindModel(fs).Is(model));
}

}  // namespace
}  // namespace dcp
