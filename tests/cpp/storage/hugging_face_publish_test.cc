#include "storage/hugging_face_publish.h"

#include <catch2/catch.hpp>
#include <cerrno>
#include <filesystem>
#include <memory>
#include <string>
#include <vector>

#include "conformance/check_files.h"
#include "storage/hugging_face_cases.h"
#include "testing/no_exchange_file_system.h"
#include "testing/no_lock_file_system.h"
#include "testing/temp_directory.h"
#include "testing/unreadable_file_system.h"

namespace dcp {
namespace {

using Catch::Matchers::Contains;
using Names = std::vector<std::string>;

StatusOr<std::unique_ptr<HuggingFacePublisher>> OpenPublisher(
    const std::shared_ptr<FileSystem>& fs, const PublishOptions& options) {
  return HuggingFacePublisher::Open(fs, MakeSystemClock(), options);
}

PublishOptions Options() {
  return {.directory = kModel, .save_id = "dcpcpp-bb"};
}

TEST_CASE("a directory with a native checkpoint is refused", "[storage]") {
  const auto fs = EmptyDisk();
  PutInModel(*fs, GENERATE(".metadata", "__2.metadata"), "x");
  const Names before = NamesIn(*fs, kModel);
  const Status status = SaveModel(fs, {.model = kNewModel});
  CHECK(status.code() == absl::StatusCode::kFailedPrecondition);
  CHECK_THAT(std::string(Message(status)),
             Contains("holds a native checkpoint"));
  CHECK(NamesIn(*fs, kModel) == before);
}

TEST_CASE("a .metadata that cannot be opened is no native checkpoint",
          "[storage]") {
  const auto disk = DiskWithOld();
  const Status status = SaveModel(
      std::make_shared<testing::UnreadableFileSystem>(disk, "/.metadata"),
      {.model = kNewModel});
  CHECK(status.code() == absl::StatusCode::kResourceExhausted);
  CHECK_THAT(std::string(Message(status)), Contains("open /run/model/.meta"));
  CHECK(FindModel(disk).Is(kOldModel));
}

TEST_CASE("without overwrite a safetensors checkpoint is refused",
          "[storage]") {
  const auto fs = DiskWithOld();
  const Status status = SaveModel(fs, {.model = kNewModel, .overwrite = false});
  CHECK(status.code() == absl::StatusCode::kFailedPrecondition);
  CHECK_THAT(std::string(Message(status)),
             Contains("Checkpoint already exists and self.overwrite=False. "
                      "(/run/model/model.safetensors)"));
  CHECK(FindModel(fs).Is(kOldModel));
  const auto empty = EmptyDisk();
  PutInModel(*empty, "config.json", "{}");
  DCP_CHECK_OK(SaveModel(empty, {.model = kNewModel, .overwrite = false}));
}

TEST_CASE("what is no file is not replaced", "[storage]") {
  const auto fs = EmptyDisk();
  const std::string name =
      GENERATE("model.safetensors", "model.safetensors.index.json");
  DCP_CHECK_OK(fs->MakeDirectories(JoinPath(kModel, name)));
  const Status status = SaveModel(fs, {.model = kNewModel});
  CHECK(GetErrorDetail(status).value_or(ErrorDetail{}).error_number == EISDIR);
}

TEST_CASE("one save at a time", "[storage]") {
  const auto fs = DiskWithOld();
  auto first = OpenPublisher(fs, Options());
  REQUIRE(first.ok());
  CHECK(SaveModel(fs, {.model = kNewModel}).code() ==
        absl::StatusCode::kAborted);
  (*first)->Abandon();
  CHECK(NamesIn(*fs, kModelParent) == Names{"model"});
  DCP_CHECK_OK(SaveModel(fs, {.model = kNewModel}));
}

TEST_CASE("what cannot be exchanged gets names with the save id", "[storage]") {
  std::shared_ptr<FileSystem> fs = DiskWithOld();
  SaveOfModel save{.save_id = "dcpcpp-0123456789ab", .model = {.value = 2}};
  SECTION("a directory in it") {
    DCP_CHECK_OK(fs->MakeDirectories(kModel + "/logs"));
  }
  SECTION("a file system that cannot") {
    fs = std::make_shared<testing::NoExchangeFileSystem>(fs);
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

/// A disk without exchange on which nothing of safetensors can be removed.
class StickyDisk final : public testing::ForwardingFileSystem {
 public:
  using ForwardingFileSystem::ForwardingFileSystem;
  Status Exchange(const std::string& a, const std::string&) override {
    return Unimplemented(a);
  }
  Status Remove(const std::string& path) override {
    if (!path.ends_with(".safetensors")) return base().Remove(path);
    return ErrnoToStatus(EIO, {.op = "unlink", .path = path});
  }
};

TEST_CASE("a save that others cannot see does not say that it succeeded",
          "[storage]") {
  const auto disk = DiskWithOld();
  const auto sticky = std::make_shared<StickyDisk>(disk);
  const SaveOfModel save{.save_id = "dcpcpp-bb", .model = kNewModel};
  const auto publisher = OpenPublisher(sticky, Options()).value();
  std::string index;
  const auto request = WriteShards(*sticky, save, *publisher, &index);
  const Status status = publisher->Publish(request.value());
  CHECK(publisher->commit_attempted());
  CHECK_THAT(std::string(Message(status)),
             Contains("unlink /run/model/model.safetensors"));
  // As ever: ours by the index, others by the file.
  CHECK(FindModel(disk).Is(kNewModel));
  CHECK(FindModelAsTransformers(*disk).Is(kOldModel));
  // The next save goes on with it, though this one's publisher still exists.
  const auto names = std::make_shared<testing::NoExchangeFileSystem>(disk);
  DCP_CHECK_OK(SaveModel(names, {.save_id = "dcpcpp-cc", .model = kNewModel}));
  CHECK(FindModelAsTransformers(*disk).Is(kNewModel));
}

TEST_CASE("other safetensors files stay, and do not count", "[storage]") {
  const auto fs = DiskWithOld();
  PutInModel(*fs, "adapter.safetensors", BytesOfShard({.value = 7}, 5).all);
  SaveOutcome outcome;
  DCP_CHECK_OK(SaveModel(fs, {.model = {.value = 2}}, &outcome));
  CHECK(outcome.way == PublishWay::kExchange);
  CHECK(FindModel(fs).Is({.value = 2}));
  CHECK(fs->Exists(kModel + "/adapter.safetensors").value());
  CHECK(fs->Exists(kModel + "/model.safetensors.index.json").value());
}

TEST_CASE("what an index calls a data file stays unless its name is of one",
          "[storage]") {
  auto fs = EmptyDisk();
  if (GENERATE(true, false)) {
    fs = std::make_shared<testing::NoExchangeFileSystem>(fs);
  }
  PutInModel(*fs, "model.safetensors.index.json",
             R"({"weight_map": {"a": "config.json", "b": "my.safetensors"}})");
  PutInModel(*fs, "config.json", "{}");
  PutInModel(*fs, "my.safetensors", "some tensors");
  DCP_CHECK_OK(SaveModel(fs, {.save_id = "dcpcpp-bb", .model = kNewModel}));
  CHECK(FindModel(fs).Is(kNewModel));
  CHECK(conformance::MustReadFile(*fs, kModel + "/config.json") == "{}");
  CHECK_FALSE(fs->Exists(kModel + "/my.safetensors").value());
  CHECK(NamesIn(*fs, kModelParent) == Names{"model"});
}

TEST_CASE("a file that somebody made meanwhile is not replaced", "[storage]") {
  const auto fs = EmptyDisk();
  auto publisher = OpenPublisher(fs, Options());
  REQUIRE(publisher.ok());
  std::string index;
  const auto request = WriteShards(
      *fs, {.save_id = "dcpcpp-bb", .model = kNewModel}, **publisher, &index);
  REQUIRE(request.ok());
  PutInModel(*fs, "model-00002-of-00002.safetensors", "theirs");
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
  const auto request = WriteShards(
      *fs, {.save_id = "dcpcpp-bb", .model = kNewModel}, **publisher, &index);
  REQUIRE(request.ok());
  const std::string sibling = kModelParent + "/.model.dcpcpp-bb";
  DCP_CHECK_OK(fs->Remove(sibling + "/model-00001-of-00002.safetensors"));
  CHECK((*publisher)->Publish(*request).code() == absl::StatusCode::kAborted);
  (*publisher)->Abandon();
  CHECK(FindModel(fs).Is(kOldModel));
  CHECK(NamesIn(*fs, kModelParent) == Names{"model"});
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
  DCP_CHECK_OK(SaveModel(fs, {.model = kOldModel, .directory = directory}));
  DCP_CHECK_OK(
      WriteFile(*fs, directory + "/config.json", "{}", SyncMode::kNone));
  auto publisher =
      OpenPublisher(fs, {.directory = directory, .save_id = "dcpcpp-bb"});
  REQUIRE(publisher.ok());
  CHECK((*publisher)->way() == PublishWay::kExchange);
  std::string index;
  const SaveOfModel save{
      .save_id = "dcpcpp-bb", .model = kNewModel, .directory = directory};
  const auto request = WriteShards(*fs, save, **publisher, &index);
  REQUIRE(request.ok());
  CHECK(SaveModel(fs, {.model = kOldModel, .directory = directory}).code() ==
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
            kModel, {.file_system =
                         std::make_shared<testing::NoExchangeFileSystem>(fs)})
            .value() == "save id names (names are not exchanged here)");
  CHECK(NamesIn(*fs, kModelParent) == Names{"model"});
  CHECK(DescribeSafetensorsOverwrite("/none", {.file_system = fs})
            .status()
            .code() == absl::StatusCode::kNotFound);
}

}  // namespace
}  // namespace dcp
