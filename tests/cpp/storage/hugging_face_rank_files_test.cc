// Publications of files of ranks: whatever call is the last one, readers find
// the old checkpoint or the new one, whole.

#include <algorithm>
#include <catch2/catch.hpp>
#include <cerrno>
#include <memory>
#include <string>
#include <vector>

#include "conformance/check_files.h"
#include "dcp/clean.h"
#include "storage/hugging_face_cases.h"
#include "testing/fault_injection_file_system.h"
#include "testing/no_exchange_file_system.h"

namespace dcp {
namespace {

using Catch::Matchers::Contains;
using testing::FaultEffect;
using testing::FaultInjectionFileSystem;
using testing::RebootPolicy;
using Names = std::vector<std::string>;

constexpr SmallModel kOfRanks{.value = 2, .shards = 2, .of_ranks = true};

enum class Writer : uint8_t { kNobody, kDcp, kTorch };

struct RankCase {
  std::string name;
  Writer writer = Writer::kNobody;  // of the old checkpoint
  SmallModel before;
  SmallModel after = kOfRanks;
  bool can_exchange = true;
};

const std::vector<RankCase> kCases = {
    {.name = "first"},
    {.name = "first, without exchange", .can_exchange = false},
    {.name = "over files of ranks",
     .writer = Writer::kDcp,
     .before = {.value = 1, .shards = 3, .of_ranks = true}},
    {.name = "over torch's files of ranks",
     .writer = Writer::kTorch,
     .before = {.value = 1, .shards = 3, .of_ranks = true}},
    {.name = "over whole files",
     .writer = Writer::kDcp,
     .before = {.value = 1, .shards = 2}},
    {.name = "whole files over files of ranks",
     .writer = Writer::kDcp,
     .before = {.value = 1, .shards = 2, .of_ranks = true},
     .after = {.value = 2, .shards = 3}},
    {.name = "whole files over files of ranks, without exchange",
     .writer = Writer::kDcp,
     .before = {.value = 1, .shards = 2, .of_ranks = true},
     .after = {.value = 2, .shards = 1},
     .can_exchange = false},
};

std::shared_ptr<FileSystem> Disk(const RankCase& test) {
  std::shared_ptr<FileSystem> fs = EmptyDisk();
  PutInModel(*fs, "notes", "the user's");
  if (test.writer == Writer::kDcp) {
    DCP_CHECK_OK(SaveModel(fs, {.save_id = "dcpcpp-aa", .model = test.before}));
  }
  for (int64_t i = 0; test.writer == Writer::kTorch && i < test.before.shards;
       ++i) {
    PutInModel(*fs, RankShardName(i, 1, 1), BytesOfShard(test.before, i).all);
  }
  return fs;
}

std::shared_ptr<FileSystem> Limited(const RankCase& test,
                                    std::shared_ptr<FileSystem> fs) {
  if (test.can_exchange) return fs;
  return std::make_shared<testing::NoExchangeFileSystem>(std::move(fs));
}

SaveOfModel NewSave(const RankCase& test) {
  return {.save_id = "dcpcpp-bb", .model = test.after};
}

bool IsBefore(const FoundModel& found, const RankCase& test) {
  return test.writer == Writer::kNobody ? found.problem == "none"
                                        : found.Is(test.before);
}

/// As torch's reader does: all files count.
FoundModel FindModelAsTorch(FileSystem& fs) {
  FoundModel found;
  for (const std::string& name : NamesIn(fs, kModel)) {
    if (name.ends_with(".safetensors")) ReadRawFile(fs, name, &found);
  }
  if (found.values.empty()) found.problem = "none";
  return found;
}

/// It finds nothing in its way, and leaves nothing behind.
void CheckNextSave(const std::shared_ptr<FileSystem>& fs) {
  const SmallModel next{.value = 3, .shards = 2, .of_ranks = true};
  DCP_CHECK_OK(SaveModel(fs, {.save_id = "dcpcpp-cc", .model = next}));
  CHECK(FindModel(fs).Is(next));
  CHECK(FindModelAsTorch(*fs).Is(next));
  CHECK(NamesIn(*fs, kModel) ==
        Names{".dcpcpp-cc", "notes",
              "shard-00001-model-00001-of-00001.safetensors",
              "shard-00002-model-00001-of-00001.safetensors"});
  CHECK(NamesIn(*fs, kModelParent) == Names{"model"});
}

TEST_CASE("a power cut leaves the old or the new files of ranks, whole",
          "[storage][crash]") {
  const RankCase test = GENERATE(from_range(kCases));
  bool done = false;
  int64_t cut = 0;
  for (; !done; ++cut) {
    const auto disk = std::make_shared<FaultInjectionFileSystem>(
        Disk(test), testing::FaultScript{.power_cut_after = cut});
    const bool ok = SaveModel(Limited(test, disk), NewSave(test)).ok();
    done = !disk->power_is_cut();
    for (uint64_t seed = 0; seed < 5; ++seed) {
      const auto policy = seed == 0   ? RebootPolicy::kDropUnsynced
                          : seed == 1 ? RebootPolicy::kKeepAll
                                      : RebootPolicy::kKeepRandomly;
      INFO(test.name << ", power cut after call " << cut << ", seed " << seed);
      const auto fs = disk->AfterReboot(policy, seed);
      const FoundModel ours = FindModel(fs);
      CAPTURE(ours.problem);
      CHECK((ours.Is(test.after) || (IsBefore(ours, test) && !ok)));
      if (test.can_exchange) {
        const FoundModel theirs = FindModelAsTorch(*fs);
        CAPTURE(theirs.problem);
        CHECK((theirs.Is(test.after) || IsBefore(theirs, test)));
      }
      CheckNextSave(fs);
    }
  }
  CHECK(cut > 15);
}

TEST_CASE("a failing call keeps the old files of ranks, or says it cannot know",
          "[storage][crash]") {
  const RankCase test = GENERATE(from_range(kCases));
  const FaultEffect effect = GENERATE(FaultEffect::kNone, FaultEffect::kFull);
  for (int64_t call = 1;; ++call) {
    INFO(test.name << ", fault in call " << call << ", effect " << int(effect));
    const auto disk = std::make_shared<FaultInjectionFileSystem>(Disk(test));
    const Names before = NamesIn(*disk, kModel);
    disk->Restart({.faults = {{.call = call, .effect = effect}}});
    SaveOutcome outcome;
    const bool ok =
        SaveModel(Limited(test, disk), NewSave(test), &outcome).ok();
    const bool was_hit = disk->calls() >= call;
    disk->Restart({});
    const FoundModel found = FindModel(disk);
    CAPTURE(found.problem);
    CHECK((found.Is(test.after) || (IsBefore(found, test) && !ok)));
    if (!ok && !outcome.attempted && effect == FaultEffect::kNone) {
      CHECK(IsBefore(found, test));
      CHECK(NamesIn(*disk, kModel) == before);
    }
    CheckNextSave(disk);
    if (!was_hit) break;
  }
}

TEST_CASE("files of ranks replace a checkpoint by an exchange or not at all",
          "[storage]") {
  const RankCase test =
      GENERATE(RankCase{.writer = Writer::kDcp, .before = kOldModel},
               RankCase{.writer = Writer::kTorch,
                        .before = {.value = 1, .shards = 2, .of_ranks = true}});
  const auto fs = std::make_shared<testing::NoExchangeFileSystem>(Disk(test));
  const Names before = NamesIn(*fs, kModel);
  const Status status = SaveModel(fs, NewSave(test));
  CHECK(status.code() == absl::StatusCode::kUnimplemented);
  CHECK_THAT(std::string(Message(status)),
             Contains("names are not exchanged here") &&
                 Contains("save into another directory"));
  CHECK(NamesIn(*fs, kModel) == before);
  CHECK(FindModel(fs).Is(test.before));
}

TEST_CASE("a file that would count among those of ranks is in their way",
          "[storage]") {
  const auto fs = EmptyDisk();
  PutInModel(*fs, "adapter.safetensors", BytesOfShard({.value = 7}, 5).all);
  const Status status = SaveModel(fs, {.model = kOfRanks});
  CHECK(status.code() == absl::StatusCode::kFailedPrecondition);
  CHECK_THAT(std::string(Message(status)), Contains("adapter.safetensors"));
  CHECK(NamesIn(*fs, kModelParent) == Names{"model"});
}

TEST_CASE("without overwrite files of ranks are a checkpoint", "[storage]") {
  const auto fs = EmptyDisk();
  DCP_CHECK_OK(SaveModel(fs, {.model = kOfRanks}));
  const Status status = SaveModel(fs, {.model = kOldModel, .overwrite = false});
  CHECK(status.code() == absl::StatusCode::kFailedPrecondition);
  CHECK_THAT(std::string(Message(status)), Contains("(/run/model/shard-0000"));
  CHECK(FindModel(fs).Is(kOfRanks));
}

TEST_CASE("the sidecar of files of ranks is in force, and binds all of them",
          "[storage]") {
  const auto fs = EmptyDisk();
  DCP_CHECK_OK(SaveModel(fs, {.model = kOfRanks}));
  PutInModel(*fs, ".dcpcpp-77", "half a sidecar");
  CHECK(CleanCheckpoint(kModel, {}, {.file_system = fs}).value().size() == 1);
  const std::string last = JoinPath(kModel, RankShardName(1, 1, 1));
  SECTION("one that is gone is missed") {
    DCP_CHECK_OK(fs->Remove(last));
    CHECK_THAT(FindModel(fs).problem,
               Contains("the file of a rank is missing") &&
                   Contains("remove .dcpcpp-00000001"));
  }
  SECTION("one of another size is no rank's of this save") {
    DCP_CHECK_OK(fs->Remove(last));
    const SmallModel other{.value = 2, .elements = 301, .of_ranks = true};
    PutInModel(*fs, RankShardName(1, 1, 1), BytesOfShard(other, 1).all);
    CHECK_THAT(FindModel(fs).problem, Contains("bytes that were written"));
  }
  SECTION("one of other bytes is damaged") {
    DCP_CHECK_OK(fs->Remove(last));
    SmallModel other = kOfRanks;
    other.value = 9;
    PutInModel(*fs, RankShardName(1, 1, 1), BytesOfShard(other, 1).all);
    CHECK_THAT(FindModel(fs).problem, Contains("CRC-32"));
  }
  SECTION("without it they count as torch's do") {
    DCP_CHECK_OK(fs->Remove(JoinPath(kModel, ".dcpcpp-00000001")));
    CHECK(FindModel(fs).Is(kOfRanks));
  }
}

TEST_CASE("a full disk is not told as one that cannot exchange directories",
          "[storage]") {
  const auto disk = EmptyDisk();
  DCP_CHECK_OK(SaveModel(disk, {.model = kOfRanks}));
  const auto full = std::make_shared<FaultInjectionFileSystem>(
      disk,
      testing::FaultScript{.faults = {{.op = testing::FsOp::kMakeDirectoryLike,
                                       .error_number = ENOSPC}}});
  const Status status =
      SaveModel(full, {.save_id = "dcpcpp-cc", .model = kOfRanks});
  CHECK(status.code() == absl::StatusCode::kResourceExhausted);
  CHECK(GetErrorDetail(status).value().error_number == ENOSPC);
  CHECK_FALSE(GetErrorDetail(status).value().path.empty());
  CHECK(FindModel(disk).Is(kOfRanks));
}

TEST_CASE("files of ranks do not count before their save is done",
          "[storage]") {
  const auto fs = EmptyDisk();
  DCP_CHECK_OK(SaveModel(fs, {.model = kOfRanks}));
  PutInModel(*fs, ".dcpcpp-00000001.tmp", "");
  CHECK(FindModel(fs).problem == "none");
  DCP_CHECK_OK(SaveModel(fs, {.save_id = "dcpcpp-cc", .model = kOldModel}));
  CHECK(FindModel(fs).Is(kOldModel));
  CHECK(NamesIn(*fs, kModel) == Names{".dcpcpp-cc", "model.safetensors"});
}

}  // namespace
}  // namespace dcp
