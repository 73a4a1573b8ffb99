#include "storage/hugging_face_publish.h"

#include <catch2/catch.hpp>
#include <filesystem>
#include <memory>
#include <string>
#include <vector>

#include "conformance/check_files.h"
#include "dcp/clean.h"
#include "storage/hugging_face_cases.h"
#include "testing/fault_injection_file_system.h"
#include "testing/no_lock_file_system.h"
#include "testing/temp_directory.h"

namespace dcp {
namespace {

using Catch::Matchers::Contains;
using conformance::MustReadFile;
using testing::FaultInjectionFileSystem;
using testing::FsOp;
using Names = std::vector<std::string>;

const SmallModel kOld{.value = 1};
const SmallModel kNew{.value = 2, .shards = 2};

void Put(FileSystem& fs, const std::string& name, const std::string& bytes) {
  DCP_CHECK_OK(WriteFile(fs, JoinPath(kModel, name), bytes, SyncMode::kNone));
}

std::shared_ptr<FileSystem> EmptyDisk() {
  auto fs = MakeMemoryFileSystem();
  DCP_CHECK_OK(fs->MakeDirectories(kModel));
  return fs;
}

std::shared_ptr<FileSystem> DiskWithOld() {
  auto fs = EmptyDisk();
  DCP_CHECK_OK(SaveModel(fs, {.save_id = "dcpcpp-aa", .model = kOld}));
  return fs;
}

StatusOr<std::unique_ptr<HuggingFacePublisher>> OpenPublisher(
    const std::shared_ptr<FileSystem>& fs, const PublishOptions& options) {
  return HuggingFacePublisher::Open(fs, MakeSystemClock(), options);
}

PublishOptions Options() {
  return {.directory = kModel, .save_id = "dcpcpp-bb"};
}

TEST_CASE("a directory with a native checkpoint is refused", "[storage]") {
  const auto fs = EmptyDisk();
  Put(*fs, GENERATE(".metadata", "__2.metadata"), "x");
  const Names before = NamesIn(*fs, kModel);
  const Status status = SaveModel(fs, {.model = kNew});
  CHECK(status.code() == absl::StatusCode::kFailedPrecondition);
  CHECK_THAT(std::string(Message(status)),
             Contains("holds a native checkpoint"));
  CHECK(NamesIn(*fs, kModel) == before);
}

TEST_CASE("without overwrite a safetensors checkpoint is refused",
          "[storage]") {
  const auto fs = DiskWithOld();
  const Status status = SaveModel(fs, {.model = kNew, .overwrite = false});
  CHECK(status.code() == absl::StatusCode::kFailedPrecondition);
  CHECK_THAT(std::string(Message(status)),
             Contains("Checkpoint already exists and self.overwrite=False. "
                      "(/run/model/model.safetensors)"));
  CHECK(FindModel(fs).Is(kOld));
  const auto empty = EmptyDisk();
  Put(*empty, "config.json", "{}");
  DCP_CHECK_OK(SaveModel(empty, {.model = kNew, .overwrite = false}));
}

TEST_CASE("what is no file is not replaced", "[storage]") {
  const auto fs = EmptyDisk();
  const std::string name =
      GENERATE("model.safetensors", "model.safetensors.index.json");
  DCP_CHECK_OK(fs->MakeDirectories(JoinPath(kModel, name)));
  const Status status = SaveModel(fs, {.model = kNew});
  CHECK(GetErrorDetail(status).value_or(ErrorDetail{}).error_number == EISDIR);
}

TEST_CASE("one save at a time", "[storage]") {
  const auto fs = DiskWithOld();
  auto first = OpenPublisher(fs, Options());
  REQUIRE(first.ok());
  CHECK(SaveModel(fs, {.model = kNew}).code() == absl::StatusCode::kAborted);
  (*first)->Abandon();
  CHECK(NamesIn(*fs, kModelParent) == Names{"model"});
  DCP_CHECK_OK(SaveModel(fs, {.model = kNew}));
}

TEST_CASE("what cannot be exchanged gets names with the save id", "[storage]") {
  std::shared_ptr<FileSystem> fs = DiskWithOld();
  SaveOfModel save{.save_id = "dcpcpp-0123456789ab", .model = {.value = 2}};
  SECTION("a directory in it") {
    DCP_CHECK_OK(fs->MakeDirectories(kModel + "/logs"));
  }
  SECTION("a file system that cannot") {
    fs = std::make_shared<NoExchangeFileSystem>(fs);
  }
  SECTION("a lease") { fs = std::make_shared<testing::NoLockFileSystem>(fs); }
  SECTION("savers") { save.session_id = "dcpcpp-5e55"; }
  SECTION("a path without a name") { save.directory = kModel + "/."; }
  SaveOutcome outcome;
  DCP_CHECK_OK(SaveModel(fs, save, &outcome));
  CHECK(outcome.way == PublishWay::kIndexed);
  CHECK(FindModel(fs).Is(save.model));
  CHECK(FindModelAsTransformers(*fs).Is(save.model));
  CHECK(fs->Exists(kModel + "/model-01234567-00001-of-00001.safetensors")
            .value());
  CHECK_FALSE(fs->Exists(kModel + "/model.safetensors").value());
  CHECK_FALSE(fs->Exists(kModel + "/.dcpcpp-aa").value());
}

TEST_CASE("other safetensors files stay, and do not count", "[storage]") {
  const auto fs = DiskWithOld();
  Put(*fs, "adapter.safetensors", BytesOfShard({.value = 7}, 5).all);
  SaveOutcome outcome;
  DCP_CHECK_OK(SaveModel(fs, {.model = {.value = 2}}, &outcome));
  CHECK(outcome.way == PublishWay::kExchange);
  CHECK(FindModel(fs).Is({.value = 2}));
  CHECK(fs->Exists(kModel + "/adapter.safetensors").value());
  CHECK(fs->Exists(kModel + "/model.safetensors.index.json").value());
}

TEST_CASE("a file that somebody made meanwhile is not replaced", "[storage]") {
  const auto fs = EmptyDisk();
  auto publisher = OpenPublisher(fs, Options());
  REQUIRE(publisher.ok());
  std::string index;
  const auto request = WriteShards(*fs, {.save_id = "dcpcpp-bb", .model = kNew},
                                   **publisher, &index);
  REQUIRE(request.ok());
  Put(*fs, "model-00002-of-00002.safetensors", "theirs");
  CHECK((*publisher)->Publish(*request).code() ==
        absl::StatusCode::kAlreadyExists);
  CHECK_FALSE((*publisher)->commit_attempted());
  (*publisher)->Abandon();
  CHECK(NamesIn(*fs, kModel) == Names{"model-00002-of-00002.safetensors"});
}

TEST_CASE("files that are gone before the commit end the save", "[storage]") {
  const auto fs = DiskWithOld();
  auto publisher = OpenPublisher(fs, Options());
  REQUIRE(publisher.ok());
  std::string index;
  const auto request = WriteShards(*fs, {.save_id = "dcpcpp-bb", .model = kNew},
                                   **publisher, &index);
  REQUIRE(request.ok());
  const std::string sibling = kModelParent + "/.model.dcpcpp-bb";
  DCP_CHECK_OK(fs->Remove(sibling + "/model-00001-of-00002.safetensors"));
  CHECK((*publisher)->Publish(*request).code() == absl::StatusCode::kAborted);
  (*publisher)->Abandon();
  CHECK(FindModel(fs).Is(kOld));
  CHECK(NamesIn(*fs, kModelParent) == Names{"model"});
}

enum class When : uint8_t { kBefore, kAfter };

/// A save of kNew on `disk` that is killed at call number `call` of kind `op`.
std::shared_ptr<FileSystem> DiedAt(const std::shared_ptr<FileSystem>& disk,
                                   FsOp op, int64_t call, When when) {
  const SaveOfModel save{.save_id = "dcpcpp-bb", .model = kNew};
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
  CHECK(FindModel(fs).Is(kNew));
  const std::string old = kModelParent + "/.model.dcpcpp-bb";
  REQUIRE(fs->Exists(old).value());
  DCP_CHECK_OK(WriteFile(*fs, old + "/late", "late", SyncMode::kNone));
  DCP_CHECK_OK(fs->MakeDirectories(old + "/logs"));
  Names expected = {"late", "logs"};
  SECTION("by the next save") {
    DCP_CHECK_OK(SaveModel(fs, {.save_id = "dcpcpp-cc", .model = kOld}));
    CHECK(FindModel(fs).Is(kOld));
  }
  SECTION("by a cleaning") {
    const auto found = CleanCheckpoint(kModel, {}, {.file_system = fs});
    REQUIRE(found.ok());
    REQUIRE(found->size() == 1);
    CHECK((*found)[0].name == "../.model.dcpcpp-bb");
    CHECK((*found)[0].nbytes > 1200);
    CHECK(FindModel(fs).Is(kNew));
  }
  CHECK(NamesIn(*fs, kModelParent) == Names{"model"});
  CHECK(MustReadFile(*fs, kModel + "/late") == "late");
  CHECK(fs->Exists(kModel + "/logs").value());
}

TEST_CASE("a sibling that was never exchanged goes with all its files",
          "[storage]") {
  const auto fs = DiedAt(DiskWithOld(), FsOp::kExchange, 1, When::kAfter);
  CHECK(FindModel(fs).Is(kOld));
  const std::string sibling = kModelParent + "/.model.dcpcpp-bb";
  REQUIRE(fs->Exists(sibling).value());
  DCP_CHECK_OK(WriteFile(*fs, sibling + "/x", "x", SyncMode::kNone));
  DCP_CHECK_OK(fs->MakeDirectories(kModelParent + "/.model2.dcpcpp-bb"));
  REQUIRE(CleanCheckpoint(kModel, {.dry_run = true}, {.file_system = fs}).ok());
  REQUIRE(fs->Exists(sibling).value());
  REQUIRE(CleanCheckpoint(kModel, {}, {.file_system = fs}).ok());
  CHECK(NamesIn(*fs, kModelParent) == Names{".model2.dcpcpp-bb", "model"});
  CHECK(NamesIn(*fs, kModel) == Names{".dcpcpp-aa", "model.safetensors"});
  CHECK(FindModel(fs).Is(kOld));
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
  Put(*fs, "model-00001-of-00002.safetensors", "theirs");
  DCP_CHECK_OK(WriteFile(*fs, kModel + "/model.safetensors",
                         BytesOfShard(kOld, 0).all, SyncMode::kNone));
  const auto found = CleanCheckpoint(kModel, {}, {.file_system = fs});
  REQUIRE(found.ok());
  CHECK(NamesIn(*fs, kModel) ==
        Names{"model-00001-of-00002.safetensors", "model.safetensors"});
}

TEST_CASE("the sidecar of safetensors in force is not left over", "[storage]") {
  const auto fs = EmptyDisk();
  const SmallModel model = GENERATE(kOld, kNew);
  DCP_CHECK_OK(SaveModel(fs, {.model = model}));
  Put(*fs, ".dcpcpp-77", "half a sidecar");
  Put(*fs, ".dcpcpp-77.0.shard", "half a file");
  const auto found = CleanCheckpoint(kModel, {}, {.file_system = fs});
  REQUIRE(found.ok());
  CHECK(found->size() == 2);
  CHECK(FindModel(fs).Is(model));
}

TEST_CASE("a native save into a directory of safetensors is refused",
          "[storage]") {
  const auto fs = DiskWithOld();
  const auto writer =
      MakeFileSystemWriter({.path = kModel}, {.file_system = fs});
  const Status status = writer->SetUp({.is_coordinator = true});
  CHECK(status.code() == absl::StatusCode::kFailedPrecondition);
  CHECK_THAT(std::string(Message(status)),
             Contains("holds a safetensors checkpoint (model.safetensors)"));
  writer->Abort();
  DCP_CHECK_OK(fs->Rename(kModel + "/model.safetensors",
                          kModel + "/adapter.safetensors"));
  DCP_CHECK_OK(writer->SetUp({.is_coordinator = true}));
  writer->Abort();
}

TEST_CASE("an exchange on a real file system keeps the mode and the lock",
          "[storage][posix]") {
  namespace stdfs = std::filesystem;
  const testing::TempDirectory parent;
  const std::string directory = JoinPath(parent.path(), "model");
  const std::shared_ptr<FileSystem> fs = MakePosixFileSystem();
  DCP_CHECK_OK(fs->MakeDirectories(directory));
  stdfs::permissions(directory, stdfs::perms::owner_all);
  DCP_CHECK_OK(SaveModel(fs, {.model = kOld, .directory = directory}));
  DCP_CHECK_OK(
      WriteFile(*fs, directory + "/config.json", "{}", SyncMode::kNone));
  auto publisher =
      OpenPublisher(fs, {.directory = directory, .save_id = "dcpcpp-bb"});
  REQUIRE(publisher.ok());
  CHECK((*publisher)->way() == PublishWay::kExchange);
  std::string index;
  const SaveOfModel save{
      .save_id = "dcpcpp-bb", .model = kNew, .directory = directory};
  const auto request = WriteShards(*fs, save, **publisher, &index);
  REQUIRE(request.ok());
  CHECK(SaveModel(fs, {.model = kOld, .directory = directory}).code() ==
        absl::StatusCode::kAborted);
  DCP_CHECK_OK((*publisher)->Publish(*request));
  CHECK(NamesIn(*fs, parent.path()) == Names{"model"});
  CHECK(NamesIn(*fs, directory) == Names{".dcpcpp-bb", "config.json",
                                         "model-00001-of-00002.safetensors",
                                         "model-00002-of-00002.safetensors",
                                         "model.safetensors.index.json"});
  CHECK(stdfs::status(directory).permissions() == stdfs::perms::owner_all);
  std::map<std::string, float> values;
  DCP_CHECK_OK(ReadModel(fs, &values, directory));
  CHECK(values.size() == 2);

  const std::string link = JoinPath(parent.path(), "link");
  stdfs::create_directory_symlink("model", link);
  SaveOutcome outcome;
  DCP_CHECK_OK(
      SaveModel(fs, {.save_id = "dcpcpp-cc", .directory = link}, &outcome));
  CHECK(outcome.way == PublishWay::kIndexed);
  CHECK(stdfs::is_symlink(link));
}

TEST_CASE("how safetensors would be overwritten is told", "[storage]") {
  const auto fs = DiskWithOld();
  CHECK(DescribeSafetensorsOverwrite(kModel, {.file_system = fs}).value() ==
        "exchange of directories");
  CHECK(NamesIn(*fs, kModelParent) == Names{"model"});
  CHECK(DescribeSafetensorsOverwrite(
            kModel, {.file_system = std::make_shared<NoExchangeFileSystem>(fs)})
            .value() == "save id names (names are not exchanged here)");
  CHECK(NamesIn(*fs, kModelParent) == Names{"model"});
  CHECK(DescribeSafetensorsOverwrite("/none", {.file_system = fs})
            .status()
            .code() == absl::StatusCode::kNotFound);
}

}  // namespace
}  // namespace dcp
