// Whatever call is the last one before the power goes, or fails, the directory
// holds the old checkpoint or the new one, whole.

#include <algorithm>
#include <catch2/catch.hpp>
#include <memory>
#include <string>
#include <vector>

#include "checkpoint/rank_threads.h"
#include "storage/damage.h"
#include "testing/fault_injection_file_system.h"

namespace dcp {
namespace {

using conformance::AllOf;
using conformance::SmallState;
using conformance::State;
using conformance::Wanted;
using testing::FaultDuration;
using testing::FaultEffect;
using testing::FaultInjectionFileSystem;
using testing::RebootPolicy;

enum class Found : uint8_t { kNone, kOld, kNew, kDamaged };

State OldState() { return SmallState(1); }
/// Fewer keys than the old one, so that a mix would show.
State NewState() {
  State state = SmallState(2);
  state.tensors.erase("bias");
  state.tensors["scale"] = conformance::RandomTensor(5, DType::kFloat16, {7});
  return state;
}

bool Holds(const std::shared_ptr<FileSystem>& fs, const State& state,
           const Metadata& metadata) {
  if (metadata.entries().size() !=
      state.tensors.size() + state.objects.size()) {
    return false;
  }
  std::vector<Wanted> wanted = AllOf(state);
  return LoadState(fs, {}, wanted).ok() && AllRight(state, wanted);
}

Found WhatIsIn(const std::shared_ptr<FileSystem>& fs) {
  NativePlace place{.fs = fs};
  const auto index = NativeStorage(place).make_reader()->ReadIndex();
  if (index.status().code() == absl::StatusCode::kNotFound) return Found::kNone;
  if (!index.ok()) return Found::kDamaged;
  if (Holds(fs, OldState(), index->metadata)) return Found::kOld;
  return Holds(fs, NewState(), index->metadata) ? Found::kNew : Found::kDamaged;
}

struct CrashCase {
  int world_size = 1;
  Found before = Found::kOld;
  FileSystemWriterOptions writer;
};

conformance::StorageUnderTest StorageOn(std::shared_ptr<FileSystem> fs,
                                        const CrashCase& test) {
  NativePlace place{.fs = std::move(fs), .writer = test.writer};
  place.writer.io = ModestIo(IoEngineKind::kThreads);
  return NativeStorage(place);
}

std::shared_ptr<FileSystem> Disk(const CrashCase& test) {
  auto fs = MakeMemoryFileSystem();
  if (test.before == Found::kOld) {
    RequireAllSucceed(
        SaveOnRanks(Sharded(OldState(), test.world_size), StorageOn(fs, test)));
  }
  return fs;
}

bool AllSucceeded(const std::vector<StatusOr<SaveResult>>& results) {
  return std::all_of(results.begin(), results.end(),
                     [](const auto& result) { return result.ok(); });
}

void CheckPowerCuts(const CrashCase& test) {
  const AllEntries entries = Sharded(NewState(), test.world_size);
  bool done = false;
  int64_t cut = 0;
  for (; !done; ++cut) {
    FaultInjectionFileSystem fs(Disk(test), {.power_cut_after = cut});
    const std::shared_ptr<FileSystem> borrowed(&fs, [](FileSystem*) {});
    const bool ok =
        AllSucceeded(SaveOnRanks(entries, StorageOn(borrowed, test)));
    done = !fs.power_is_cut();
    for (RebootPolicy policy :
         {RebootPolicy::kDropUnsynced, RebootPolicy::kKeepAll,
          RebootPolicy::kKeepRandomly}) {
      const uint64_t seeds = policy == RebootPolicy::kKeepRandomly ? 6 : 1;
      for (uint64_t seed = 0; seed < seeds; ++seed) {
        INFO("power cut after call " << cut << ", policy " << int(policy)
                                     << ", seed " << seed);
        const Found found = WhatIsIn(fs.AfterReboot(policy, seed));
        CHECK((found == Found::kNew || (found == test.before && !ok)));
      }
    }
  }
  CHECK(cut > 15);
}

TEST_CASE("a power cut after any call leaves the old or the new checkpoint",
          "[checkpoint][crash]") {
  CheckPowerCuts({});
  CheckPowerCuts({.writer = {.file_count = 2}});
  CheckPowerCuts({.writer = {.compression = Compression::kZstd}});
}

TEST_CASE("a power cut in the first save leaves nothing or the checkpoint",
          "[checkpoint][crash]") {
  CheckPowerCuts({.before = Found::kNone});
}

TEST_CASE("a power cut on all of several ranks leaves the old or the new one",
          "[checkpoint][crash]") {
  CheckPowerCuts({.world_size = 2});
}

/// Fails call number `call` of a save and checks what that leads to. Returns
/// false when the save made fewer calls.
bool CheckFault(const CrashCase& test, const testing::Fault& fault) {
  INFO("fault in call " << fault.call << ", effect " << int(fault.effect)
                        << ", duration " << int(fault.duration) << ", ranks "
                        << test.world_size);
  FaultInjectionFileSystem fs(Disk(test), {.faults = {fault}});
  const std::shared_ptr<FileSystem> borrowed(&fs, [](FileSystem*) {});
  const auto results = SaveOnRanks(Sharded(NewState(), test.world_size),
                                   StorageOn(borrowed, test));
  if (fs.calls() < fault.call) return false;
  const bool ok = AllSucceeded(results);
  fs.Restart({});
  const Found found = WhatIsIn(borrowed);
  if (ok) {
    CHECK(found == Found::kNew);
  } else {
    const RankFailures failures = RequireSameFailures(results);
    const bool in_doubt =
        Message(results[0].status()).find("the old or the new one") !=
        std::string_view::npos;
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
  RequireAllSucceed(SaveOnRanks(Sharded(NewState(), test.world_size),
                                StorageOn(borrowed, test)));
  CHECK(WhatIsIn(borrowed) == Found::kNew);
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
        while (CheckFault({.world_size = world_size}, {.call = call,
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
  for (int64_t write = 1; write <= 4; ++write) {
    FaultInjectionFileSystem fs(Disk({.world_size = 2}), {});
    const std::shared_ptr<FileSystem> borrowed(&fs, [](FileSystem*) {});
    const auto before = FilesOf(fs, "");
    fs.Restart({.faults = {{.call = write,
                            .op = testing::FsOp::kWrite,
                            .error_number = ENOSPC}}});
    const auto results =
        SaveOnRanks(Sharded(NewState(), 2), StorageOn(borrowed, {}));
    CHECK(results[0].status().code() == absl::StatusCode::kResourceExhausted);
    CHECK(FilesOf(fs, "") == before);
  }
}

}  // namespace
}  // namespace dcp
