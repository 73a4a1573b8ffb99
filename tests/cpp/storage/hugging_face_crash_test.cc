// Whatever call is the last one of a save of safetensors files before the power
// goes, the process dies or the call fails: readers, ours and transformers,
// find the old checkpoint or the new one, whole, and the user's files are
// there. The next save clears up.

#include <algorithm>
#include <catch2/catch.hpp>
#include <memory>
#include <string>
#include <vector>

#include "conformance/check_files.h"
#include "storage/hugging_face_cases.h"
#include "testing/fault_injection_file_system.h"
#include "testing/no_exchange_file_system.h"

namespace dcp {
namespace {

using conformance::MustReadFile;
using testing::FaultEffect;
using testing::FaultInjectionFileSystem;
using testing::RebootPolicy;
using Names = std::vector<std::string>;

enum class Writer : uint8_t { kNobody, kDcp, kSomebodyElse };

struct CrashCase {
  PublishWay way = PublishWay::kFresh;
  Writer writer = Writer::kNobody;  // of the old checkpoint
  SmallModel before{.value = 1, .shards = 0};
  SmallModel after{.value = 2};
};

const std::vector<CrashCase> kCases = {
    {.way = PublishWay::kFresh},
    {.way = PublishWay::kFresh, .after = {.value = 2, .shards = 3}},
    {.way = PublishWay::kExchange,
     .writer = Writer::kDcp,
     .before = {.value = 1, .shards = 1}},
    {.way = PublishWay::kExchange,
     .writer = Writer::kDcp,
     .before = {.value = 1, .shards = 3},
     .after = {.value = 2, .shards = 2}},
    {.way = PublishWay::kExchange,
     .writer = Writer::kSomebodyElse,
     .before = {.value = 1, .shards = 2}},
    {.way = PublishWay::kIndexed,
     .writer = Writer::kDcp,
     .before = {.value = 1, .shards = 1}},
    {.way = PublishWay::kIndexed,
     .writer = Writer::kDcp,
     .before = {.value = 1, .shards = 2},
     .after = {.value = 2, .shards = 3}},
    {.way = PublishWay::kIndexed,
     .writer = Writer::kSomebodyElse,
     .before = {.value = 1, .shards = 1},
     .after = {.value = 2, .shards = 2}},
    {.way = PublishWay::kExchange,
     .writer = Writer::kDcp,
     .before = {.value = 1, .shards = 1, .stem = "flux"},
     .after = {.value = 2, .shards = 2, .stem = "flux"}},
    {.way = PublishWay::kIndexed,
     .writer = Writer::kDcp,
     .before = {.value = 1, .shards = 1, .stem = "flux"},
     .after = {.value = 2, .shards = 2, .stem = "flux"}},
};

void PutForeignModel(FileSystem& fs, const SmallModel& model) {
  SafetensorsIndex index;
  for (int64_t i = 0; i < model.shards; ++i) {
    std::string name = "model.safetensors";
    if (model.shards > 1) {
      name = "weights_" + std::to_string(i) + ".safetensors";
    }
    DCP_CHECK_OK(WriteFile(fs, JoinPath(kModel, name),
                           BytesOfShard(model, i).all, SyncMode::kSync));
    index.weight_map[KeyOf(i)] = name;
  }
  if (model.shards == 1) return;
  DCP_CHECK_OK(WriteFile(fs, JoinPath(kModel, kSafetensorsIndexName),
                         SerializeSafetensorsIndex(index).value(),
                         SyncMode::kSync));
}

std::shared_ptr<FileSystem> Disk(const CrashCase& test) {
  std::shared_ptr<FileSystem> fs = MakeMemoryFileSystem();
  if (test.way == PublishWay::kIndexed) {
    fs = std::make_shared<testing::NoExchangeFileSystem>(fs);
  }
  DCP_CHECK_OK(fs->MakeDirectories(kModel));
  for (const char* name : {"config.json", "notes"}) {
    DCP_CHECK_OK(WriteFile(*fs, JoinPath(kModel, name),
                           std::string("the user's ") + name, SyncMode::kSync));
  }
  if (test.writer == Writer::kDcp) {
    DCP_CHECK_OK(
        SaveModel(fs, {.save_id = "dcpcpp-00aa", .model = test.before}));
  } else if (test.writer == Writer::kSomebodyElse) {
    PutForeignModel(*fs, test.before);
  }
  return fs;
}

void CheckUsersFiles(FileSystem& fs) {
  for (const char* name : {"config.json", "notes"}) {
    CHECK(MustReadFile(fs, JoinPath(kModel, name)) ==
          std::string("the user's ") + name);
  }
}

bool IsBefore(const FoundModel& found, const CrashCase& test) {
  return test.writer == Writer::kNobody ? found.problem == "none"
                                        : found.Is(test.before);
}

/// The names of a checkpoint of files like those of `model` in the directory.
Names NamesOf(PublishWay way, const SmallModel& model,
              const std::string& save_id) {
  Names names = {"config.json", "notes", "." + save_id};
  const bool is_indexed = way == PublishWay::kIndexed;
  const int64_t shards = model.shards;
  const std::string stem(model.stem);
  if (shards > 1 || is_indexed) {
    names.push_back(stem + std::string(kSafetensorsIndexSuffix));
  }
  for (int64_t i = 1; i <= shards; ++i) {
    const std::string number = "-0000" + std::to_string(i) + "-of-0000" +
                               std::to_string(shards) + ".safetensors";
    if (is_indexed) {
      names.push_back(stem + "-" + save_id.substr(7) + number);
    } else {
      names.push_back(stem + (shards == 1 ? ".safetensors" : number));
    }
  }
  std::sort(names.begin(), names.end());
  return names;
}

/// The next save finds nothing in its way, and leaves nothing behind.
void CheckNextSave(const std::shared_ptr<FileSystem>& fs,
                   std::string_view stem) {
  const SmallModel next{.value = 3, .shards = 2, .stem = stem};
  SaveOutcome outcome;
  DCP_CHECK_OK(
      SaveModel(fs, {.save_id = "dcpcpp-00cc", .model = next}, &outcome));
  CHECK(FindModel(fs).Is(next));
  CHECK(FindModelAsTransformers(*fs, stem).Is(next));
  CHECK(NamesIn(*fs, kModelParent) == Names{"model"});
  CHECK(NamesIn(*fs, kModel) == NamesOf(outcome.way, next, "dcpcpp-00cc"));
  CheckUsersFiles(*fs);
}

SaveOfModel NewSave(const CrashCase& test) {
  return {.save_id = "dcpcpp-00bb", .model = test.after};
}

void CheckReboot(const CrashCase& test, const std::shared_ptr<FileSystem>& disk,
                 bool ok) {
  const FoundModel ours = FindModel(disk);
  CAPTURE(ours.problem);
  CHECK((ours.Is(test.after) || (IsBefore(ours, test) && !ok)));
  const FoundModel theirs = FindModelAsTransformers(*disk, test.after.stem);
  CAPTURE(theirs.problem);
  CHECK((theirs.Is(test.after) || IsBefore(theirs, test)));
  CheckUsersFiles(*disk);
  CheckNextSave(disk, test.after.stem);
}

TEST_CASE("a power cut leaves the old or the new safetensors, whole",
          "[storage][crash]") {
  constexpr uint64_t kDraws = 4;
  const CrashCase test = GENERATE(from_range(kCases));
  bool done = false;
  int64_t cut = 0;
  for (; !done; ++cut) {
    const auto fs = std::make_shared<FaultInjectionFileSystem>(
        Disk(test), testing::FaultScript{.power_cut_after = cut});
    const bool ok = SaveModel(fs, NewSave(test)).ok();
    done = !fs->power_is_cut();
    for (RebootPolicy policy :
         {RebootPolicy::kDropUnsynced, RebootPolicy::kKeepAll,
          RebootPolicy::kKeepRandomly}) {
      const uint64_t seeds = policy == RebootPolicy::kKeepRandomly ? kDraws : 1;
      for (uint64_t seed = 0; seed < seeds; ++seed) {
        INFO("way " << int(test.way) << ", power cut after call " << cut
                    << ", policy " << int(policy) << ", seed " << seed);
        CheckReboot(test, fs->AfterReboot(policy, seed), ok);
      }
    }
  }
  CHECK(cut > 15);
}

TEST_CASE("a failing call keeps the old safetensors, or says it cannot know",
          "[storage][crash]") {
  const CrashCase test = GENERATE(from_range(kCases));
  const FaultEffect effect = GENERATE(FaultEffect::kNone, FaultEffect::kFull);
  for (int64_t call = 1;; ++call) {
    INFO("way " << int(test.way) << ", fault in call " << call << ", effect "
                << int(effect));
    const auto fs = std::make_shared<FaultInjectionFileSystem>(Disk(test));
    const Names before = NamesIn(*fs, kModel);
    fs->Restart({.faults = {{.call = call, .effect = effect}}});
    SaveOutcome outcome;
    const bool ok = SaveModel(fs, NewSave(test), &outcome).ok();
    const bool was_hit = fs->calls() >= call;
    fs->Restart({});
    const FoundModel found = FindModel(fs);
    CAPTURE(found.problem);
    CHECK((found.Is(test.after) || (IsBefore(found, test) && !ok)));
    CheckUsersFiles(*fs);
    // What was not published is gone, but for what a call made that failed all
    // the same.
    if (!ok && !outcome.attempted && effect == FaultEffect::kNone) {
      CHECK(IsBefore(found, test));
      CHECK(NamesIn(*fs, kModelParent) == Names{"model"});
      CHECK(NamesIn(*fs, kModel) == before);
    }
    CheckNextSave(fs, test.after.stem);
    if (!was_hit) break;
  }
}

TEST_CASE("the ways are those that the test means", "[storage]") {
  const CrashCase test = GENERATE(from_range(kCases));
  const auto fs = Disk(test);
  SaveOutcome outcome;
  DCP_CHECK_OK(SaveModel(fs, NewSave(test), &outcome));
  CHECK(outcome.way == test.way);
  CHECK(FindModel(fs).Is(test.after));
  CHECK(FindModelAsTransformers(*fs, test.after.stem).Is(test.after));
  CHECK(NamesIn(*fs, kModel) == NamesOf(test.way, test.after, "dcpcpp-00bb"));
  CHECK(NamesIn(*fs, kModelParent) == Names{"model"});
}

}  // namespace
}  // namespace dcp
