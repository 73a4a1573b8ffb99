// What saves of safetensors files leave when they are killed, and who clears
// it up.

#include <catch2/catch.hpp>
#include <filesystem>
#include <memory>
#include <span>
#include <string>
#include <vector>

#include "conformance/check_files.h"
#include "dcp/clean.h"
#include "storage/hugging_face_cases.h"
#include "storage/replaced_list.h"
#include "testing/fault_injection_file_system.h"
#include "testing/no_exchange_file_system.h"
#include "testing/temp_directory.h"
#include "testing/unreadable_file_system.h"

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

TEST_CASE("what came too late is carried over whatever became of the index",
          "[storage]") {
  const auto fs = DiedAt(DiskWithOld(), FsOp::kExchange, 2, When::kAfter);
  DCP_CHECK_OK(WriteFile(*fs, kModelParent + "/.model.dcpcpp-bb/late", "late",
                         SyncMode::kNone));
  const std::string index(kSafetensorsIndexName);
  DCP_CHECK_OK(fs->Remove(JoinPath(kModel, index)));
  const std::string of_another_program =
      R"({"weight_map": {"layer0": "model-00001-of-00002.safetensors"}})";
  SECTION("another program has written it, and the next save clears up") {
    PutInModel(*fs, index, of_another_program);
    DCP_CHECK_OK(SaveModel(fs, {.save_id = "dcpcpp-cc", .model = kOldModel}));
  }
  SECTION("another program has written it, and a cleaning clears up") {
    PutInModel(*fs, index, of_another_program);
    REQUIRE(CleanCheckpoint(kModel, {}, {.file_system = fs}).ok());
  }
  SECTION("it is damaged, and the save that may clear up is the second") {
    PutInModel(*fs, index, "{");
    DCP_CHECK_OK(SaveModel(fs, {.save_id = "dcpcpp-cc", .model = kOldModel}));
    DCP_CHECK_OK(SaveModel(fs, {.save_id = "dcpcpp-dd", .model = kOldModel}));
  }
  CHECK(NamesIn(*fs, kModelParent) == Names{"model"});
  CHECK(MustReadFile(*fs, kModel + "/late") == "late");
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

TEST_CASE("a link that is called as a sibling is not followed",
          "[storage][posix]") {
  const testing::TempDirectory parent;
  const std::string directory = JoinPath(parent.path(), "model");
  const std::string elsewhere = JoinPath(parent.path(), "elsewhere");
  const std::string link = JoinPath(parent.path(), ".model.dcpcpp-bb");
  const std::shared_ptr<FileSystem> fs = MakePosixFileSystem();
  DCP_CHECK_OK(fs->MakeDirectories(directory));
  DCP_CHECK_OK(SaveModel(fs, {.model = kOldModel, .directory = directory}));
  DCP_CHECK_OK(fs->MakeDirectories(elsewhere));
  DCP_CHECK_OK(WriteFile(*fs, elsewhere + "/x", "x", SyncMode::kNone));
  std::filesystem::create_directory_symlink("elsewhere", link);
  SECTION("by a cleaning") {
    const auto found = CleanCheckpoint(directory);
    REQUIRE(found.ok());
    CHECK(found->empty());
  }
  SECTION("by a save") {
    DCP_CHECK_OK(SaveModel(
        fs,
        {.save_id = "dcpcpp-cc", .model = kNewModel, .directory = directory}));
  }
  CHECK(MustReadFile(*fs, elsewhere + "/x") == "x");
  CHECK(std::filesystem::is_symlink(link));
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

TEST_CASE("a file that a failed save could not remove goes with the next one",
          "[storage]") {
  const std::string first = kModel + "/model-00001-of-00002.safetensors";
  const auto fs = std::make_shared<FaultInjectionFileSystem>(EmptyDisk());
  // The second file does not get its name, and the first one keeps it.
  fs->Restart({.faults = {{.call = 2, .op = FsOp::kRename},
                          {.call = 3, .op = FsOp::kRemove}}});
  CHECK_FALSE(SaveModel(fs, {.save_id = "dcpcpp-bb", .model = kNewModel}).ok());
  fs->Restart({});
  CHECK(fs->Exists(first).value());
  CHECK(FindModel(fs).problem == "none");
  DCP_CHECK_OK(SaveModel(fs, {.save_id = "dcpcpp-cc", .model = kOldModel}));
  CHECK(NamesIn(*fs, kModel) == Names{".dcpcpp-cc", "model.safetensors"});
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

/// A checkpoint whose save, dcpcpp-bb, died before it had removed `old`.
struct HalfReplaced {
  std::shared_ptr<FileSystem> fs =
      std::make_shared<testing::NoExchangeFileSystem>(DiskWithOld());
  std::string old = "model-00001-of-00002.safetensors";
  std::string list = JoinPath(kModel, ".dcpcpp-bb.replaced");

  HalfReplaced() {
    DCP_CHECK_OK(SaveModel(fs, {.save_id = "dcpcpp-bb", .model = kNewModel}));
    PutInModel(*fs, old, BytesOfShard(kOldModel, 0).all);
    const auto files = ListFiles(*fs, kModel, {old});
    DCP_CHECK_OK(
        WriteFile(*fs, list, SerializeReplacedList(files), SyncMode::kNone));
  }

  Status NextSave(std::shared_ptr<FileSystem> disk) const {
    return SaveModel(disk, {.save_id = "dcpcpp-cc", .model = kNewModel});
  }
  bool IsUntouched() const {
    return fs->Exists(JoinPath(kModel, old)).value() &&
           fs->Exists(list).value() && FindModel(fs).Is(kNewModel);
  }
};

TEST_CASE("what a killed save has replaced goes with the next one",
          "[storage]") {
  const HalfReplaced disk;
  REQUIRE(disk.IsUntouched());
  DCP_CHECK_OK(disk.NextSave(disk.fs));
  CHECK_FALSE(disk.fs->Exists(JoinPath(kModel, disk.old)).value());
  CHECK_FALSE(disk.fs->Exists(disk.list).value());
}

TEST_CASE("a list of replaced files costs the user no other files",
          "[storage]") {
  const HalfReplaced disk;
  PutInModel(*disk.fs, "config.json", "{}");
  DCP_CHECK_OK(disk.fs->Remove(disk.list));
  const auto files = ListFiles(*disk.fs, kModel, {disk.old, "config.json"});
  DCP_CHECK_OK(WriteFile(*disk.fs, disk.list, SerializeReplacedList(files),
                         SyncMode::kNone));
  const auto found = CleanCheckpoint(kModel, {}, {.file_system = disk.fs});
  REQUIRE(found.ok());
  CHECK_FALSE(disk.fs->Exists(JoinPath(kModel, disk.old)).value());
  CHECK(MustReadFile(*disk.fs, kModel + "/config.json") == "{}");
}

TEST_CASE("a list of replaced files that cannot be read is not removed",
          "[storage]") {
  const HalfReplaced disk;
  SECTION("for the disk does not give it") {
    const auto unreadable =
        std::make_shared<testing::UnreadableFileSystem>(disk.fs, ".replaced");
    const Status status = disk.NextSave(unreadable);
    CHECK(status.code() == absl::StatusCode::kResourceExhausted);
    CHECK_FALSE(CleanCheckpoint(kModel, {}, {.file_system = unreadable}).ok());
  }
  SECTION("for it is a later version's") {
    std::string bytes = MustReadFile(*disk.fs, disk.list);
    bytes.resize(bytes.size() - sizeof(uint32_t));
    bytes[8] = bytes[12] = 2;  // the versions
    const uint32_t crc = Crc32(0, std::as_bytes(std::span(bytes)));
    for (int shift = 0; shift < 32; shift += 8) {
      bytes.push_back(static_cast<char>(crc >> shift));
    }
    DCP_CHECK_OK(disk.fs->Remove(disk.list));
    DCP_CHECK_OK(WriteFile(*disk.fs, disk.list, bytes, SyncMode::kNone));
    const Status status = disk.NextSave(disk.fs);
    CHECK(status.code() == absl::StatusCode::kFailedPrecondition);
    CHECK_THAT(std::string(Message(status)), Catch::Contains("upgrade dcpcpp"));
    CHECK_FALSE(CleanCheckpoint(kModel, {}, {.file_system = disk.fs}).ok());
  }
  CHECK(disk.IsUntouched());
}

}  // namespace
}  // namespace dcp
