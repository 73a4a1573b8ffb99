// Whatever call is the last one before the power goes, or fails, the directory
// holds the old checkpoint or the new one, whole.

#include <algorithm>
#include <catch2/catch.hpp>
#include <memory>
#include <string>
#include <vector>

#include "checkpoint/any_format.h"
#include "checkpoint/async_rank_saves.h"
#include "checkpoint/rank_threads.h"
#include "testing/fault_injection_file_system.h"
#include "testing/scoreboard.h"

namespace dcp {
namespace {

using testing::FaultDuration;
using testing::FaultEffect;
using testing::FaultInjectionFileSystem;
using testing::RebootPolicy;

struct CrashCase {
  int world_size = 1;
  Found before = Found::kOld;
  FileSystemWriterOptions writer;
  size_t min_indexed_items = kMinIndexedItems;
  FileFormat format = FileFormat::kNative;
  bool has_many_shards = false;  ///< of safetensors
  bool is_async = false;

  OldAndNew states() const { return StatesFor(format, SmallStates()); }
  AllEntries new_entries() const {
    return Sharded(states().new_state, world_size);
  }
};

AnyPlace PlaceOn(std::shared_ptr<FileSystem> fs, const CrashCase& test) {
  AnyPlace place{.format = test.format,
                 .native = {.fs = std::move(fs),
                            .writer = test.writer,
                            .min_indexed_items = test.min_indexed_items}};
  place.native.writer.io = ModestIo(IoEngineKind::kThreads);
  if (test.has_many_shards) place.max_shard_nbytes = 1;
  return place;
}

Found WhatIsIn(std::shared_ptr<FileSystem> fs, const CrashCase& test) {
  return dcp::WhatIsIn(PlaceOn(std::move(fs), test), test.states());
}

/// Whether others find the new one, too.
bool IsSaved(std::shared_ptr<FileSystem> fs, const CrashCase& test) {
  return WhatOthersFind(PlaceOn(std::move(fs), test), test.states()) ==
         Found::kNew;
}

conformance::StorageUnderTest StorageOn(std::shared_ptr<FileSystem> fs,
                                        const CrashCase& test) {
  return StorageAt(PlaceOn(std::move(fs), test));
}

std::shared_ptr<FileSystem> Disk(const CrashCase& test) {
  auto fs = MakeMemoryFileSystem();
  if (test.before == Found::kOld) {
    RequireAllSucceed(
        SaveOnRanks(Sharded(test.states().old_state, test.world_size),
                    StorageOn(fs, test)));
  }
  return fs;
}

std::vector<StatusOr<SaveResult>> SaveOn(std::shared_ptr<FileSystem> fs,
                                         const AllEntries& entries,
                                         const CrashCase& test) {
  const auto storage = StorageOn(std::move(fs), test);
  if (test.is_async) return AsyncRankSaves(entries, storage).Wait();
  return SaveOnRanks(entries, storage);
}

bool AllSucceeded(const std::vector<StatusOr<SaveResult>>& results) {
  return std::all_of(results.begin(), results.end(),
                     [](const auto& result) { return result.ok(); });
}

/// Checks every power cut, and for each what may be left of the changes that
/// were not synced: nothing, all, and `draws` random ones. Returns how many
/// disks that makes.
int64_t CheckPowerCuts(const CrashCase& test, int64_t draws) {
  const AllEntries entries = test.new_entries();
  bool done = false;
  int64_t cut = 0;
  int64_t disks = 0;
  for (; !done; ++cut) {
    FaultInjectionFileSystem fs(Disk(test), {.power_cut_after = cut});
    const std::shared_ptr<FileSystem> borrowed(&fs, [](FileSystem*) {});
    const bool ok = AllSucceeded(SaveOn(borrowed, entries, test));
    done = !fs.power_is_cut();
    for (RebootPolicy policy :
         {RebootPolicy::kDropUnsynced, RebootPolicy::kKeepAll,
          RebootPolicy::kKeepRandomly}) {
      const int64_t seeds = policy == RebootPolicy::kKeepRandomly ? draws : 1;
      for (int64_t seed = 0; seed < seeds; ++seed) {
        ++disks;
        INFO("power cut after call " << cut << ", policy " << int(policy)
                                     << ", seed " << seed);
        const auto disk = fs.AfterReboot(policy, static_cast<uint64_t>(seed));
        const Found found = WhatIsIn(disk, test);
        CHECK((found == Found::kNew || (found == test.before && !ok)));
        if (ok) CHECK(IsSaved(disk, test));
      }
    }
  }
  CHECK(cut > 15);
  return disks;
}

void CheckAndReport(const std::string& trial, const CrashCase& test) {
  const bool is_native = test.format == FileFormat::kNative;
  const int64_t draws =
      is_native ? testing::Trials(6, 600) : testing::Trials(1, 110);
  const int64_t disks = CheckPowerCuts(test, draws);
  testing::Report({.row = "R4", .trial = trial, .count = disks});
}

TEST_CASE("a power cut after any call leaves the old or the new checkpoint",
          "[checkpoint][crash][R4]") {
  CheckAndReport("overwrite", {});
  CheckAndReport("overwrite, 2 files", {.writer = {.file_count = 2}});
  CheckAndReport("overwrite, zstd",
                 {.writer = {.compression = Compression::kZstd}});
  CheckAndReport("overwrite, indexed", {.min_indexed_items = 1});
  CheckAndReport("overwrite, async", {.is_async = true});
}

TEST_CASE("a power cut in the first save leaves nothing or the checkpoint",
          "[checkpoint][crash][R4]") {
  CheckAndReport("first save", {.before = Found::kNone});
  CheckAndReport("first save, indexed",
                 {.before = Found::kNone, .min_indexed_items = 1});
}

TEST_CASE("a power cut on all of several ranks leaves the old or the new one",
          "[checkpoint][crash][R4]") {
  CheckAndReport("overwrite, 2 ranks", {.world_size = 2});
  CheckAndReport("overwrite, 2 ranks, async",
                 {.world_size = 2, .is_async = true});
}

TEST_CASE("a power cut leaves the old or the new safetensors, of any ranks",
          "[checkpoint][crash][R4]") {
  for (const FileFormat format :
       {FileFormat::kSafetensors, FileFormat::kSafetensorsInPlace,
        FileFormat::kSafetensorsOfRanks}) {
    const bool of_ranks = format == FileFormat::kSafetensorsOfRanks;
    for (CrashCase test : std::vector<CrashCase>{
             {},
             {.has_many_shards = true},
             {.before = Found::kNone},
             {.before = Found::kNone, .has_many_shards = true},
             {.world_size = 2, .has_many_shards = !of_ranks}}) {
      test.format = format;
      // Files of ranks are one of each.
      if (of_ranks && test.world_size == 1 && test.has_many_shards) continue;
      const bool is_first = test.before == Found::kNone;
      CheckAndReport(ToString(format) +
                         (is_first ? ", first save" : ", overwrite") +
                         (test.has_many_shards ? ", several files" : "") +
                         (test.world_size > 1 ? ", 2 ranks" : ""),
                     test);
    }
  }
}

/// Fails call number `call` of a save and checks what that leads to. Returns
/// false when the save made fewer calls.
bool CheckFault(const CrashCase& test, const testing::Fault& fault) {
  INFO("fault in call " << fault.call << ", effect " << int(fault.effect)
                        << ", duration " << int(fault.duration) << ", ranks "
                        << test.world_size);
  FaultInjectionFileSystem fs(Disk(test), {.faults = {fault}});
  const std::shared_ptr<FileSystem> borrowed(&fs, [](FileSystem*) {});
  const auto results =
      SaveOnRanks(test.new_entries(), StorageOn(borrowed, test));
  if (fs.calls() < fault.call) return false;
  const bool ok = AllSucceeded(results);
  fs.Restart({});
  const Found found = WhatIsIn(borrowed, test);
  if (ok) {
    CHECK(found == Found::kNew);
  } else {
    const RankFailures failures = RequireSameFailures(results);
    const bool in_doubt = IsInDoubt(results[0].status());
    INFO(Message(results[0].status()));
    CHECK((found == test.before || (in_doubt && found == Found::kNew)));
    for (const auto& [rank, status] : failures.by_rank) {
      const auto detail = GetErrorDetail(status);
      REQUIRE(detail.has_value());
      CHECK(detail->error_number == fault.error_number);
      CHECK_FALSE(detail->path.empty());
    }
  }
  // Whatever was left behind does not hinder the next save.
  RequireAllSucceed(SaveOnRanks(test.new_entries(), StorageOn(borrowed, test)));
  CHECK(WhatIsIn(borrowed, test) == Found::kNew);
  return true;
}

TEST_CASE(
    "a failure of any call keeps the old checkpoint, or says it cannot "
    "know",
    "[checkpoint][crash]") {
  for (int world_size : {1, 2}) {
    for (FaultEffect effect :
         {FaultEffect::kNone, FaultEffect::kPartial, FaultEffect::kFull}) {
      for (FaultDuration duration :
           {FaultDuration::kOnce, FaultDuration::kFromThenOn}) {
        int64_t call = 1;
        // One rank's checkpoints have an index.
        const size_t min_indexed_items = world_size == 1 ? 1 : kMinIndexedItems;
        while (CheckFault(
            {.world_size = world_size, .min_indexed_items = min_indexed_items},
            {.call = call,
             .error_number = EIO,
             .duration = duration,
             .effect = effect})) {
          ++call;
        }
        CHECK(call > 15);
      }
    }
  }
}

TEST_CASE("a failed save leaves no file behind", "[checkpoint][crash]") {
  const CrashCase test{.world_size = 2, .min_indexed_items = 1};
  for (int64_t write = 1; write <= 5; ++write) {
    FaultInjectionFileSystem fs(Disk(test), {});
    const std::shared_ptr<FileSystem> borrowed(&fs, [](FileSystem*) {});
    const auto before = FilesOf(fs, "");
    fs.Restart({.faults = {{.call = write,
                            .op = testing::FsOp::kWrite,
                            .error_number = ENOSPC}}});
    const auto results =
        SaveOnRanks(test.new_entries(), StorageOn(borrowed, test));
    CHECK(results[0].status().code() == absl::StatusCode::kResourceExhausted);
    CHECK(FilesOf(fs, "") == before);
  }
}

}  // namespace
}  // namespace dcp
