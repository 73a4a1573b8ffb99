// A disk on which every call that would change it waits in the kernel, where
// nothing takes it out: a save fails on every rank at the deadline, whoever
// carries it out, and the next one works when the disk is back.

#include <catch2/catch.hpp>
#include <chrono>
#include <memory>
#include <string>
#include <utility>
#include <vector>

#include "checkpoint/async_rank_saves.h"
#include "checkpoint/old_or_new.h"
#include "reliability/mounted_disk.h"
#include "reliability/save_trials.h"
#include "reliability/stalls.h"
#include "testing/scoreboard.h"

namespace dcp::testing {
namespace {

using std::chrono::milliseconds;
using std::chrono::seconds;
using SteadyClock = std::chrono::steady_clock;

constexpr seconds kDeadline{1};

struct Case {
  SaveBy by;
  int ranks;
  const char* name;
};

/// Checkpoints on a disk of their own.
class FrozenDisk {
 public:
  FrozenDisk(MountedDisk& disk, const Case& test)
      : disk_(disk),
        test_(test),
        place_{.fs = MakePosixFileSystem(),
               .directory = disk.path() + "/ckpt"} {
    for (int rank = 0; test.by == SaveBy::kProcess && rank < test.ranks;
         ++rank) {
      auto saver = Saver::Make({.program = DCP_SAVER_PROGRAM});
      REQUIRE(saver.ok());
      savers_.push_back(*std::move(saver));
    }
    RequireAllSucceed(Save(states_.old_state));
    place_.writer.io.stall_timeout = kDeadline;
  }

  /// Saves over the old state, on a disk that is frozen.
  std::vector<StatusOr<SaveResult>> SaveFrozen() {
    DCP_CHECK_OK(disk_.Freeze());
    const auto begin = SteadyClock::now();
    auto results = Save(states_.new_state);
    elapsed_ =
        std::chrono::duration_cast<milliseconds>(SteadyClock::now() - begin);
    DCP_CHECK_OK(disk_.Thaw());
    return results;
  }

  /// The lock goes when the frozen call has come back.
  Status SaveWhenFree() {
    place_.writer.io.stall_timeout = std::chrono::minutes(10);
    Status status;
    const auto end = SteadyClock::now() + seconds(30);
    do {
      status = Save(states_.new_state)[0].status();
    } while (!status.ok() && SteadyClock::now() < end);
    return status;
  }

  Found Look() const { return WhatIsIn(place_, states_); }
  milliseconds elapsed() const { return elapsed_; }
  milliseconds longest_blocked() const { return longest_blocked_; }

 private:
  std::vector<StatusOr<SaveResult>> Save(const conformance::State& state) {
    const AllEntries entries = Sharded(state, test_.ranks);
    if (test_.by == SaveBy::kCaller) {
      return SaveOnRanks(entries, NativeStorage(place_));
    }
    AsyncRankSaves saves(entries, NativeStorage(place_), savers_);
    longest_blocked_ = saves.longest_blocked;
    return saves.Wait();
  }

  MountedDisk& disk_;
  const Case test_;
  const OldAndNew states_ = LargerStates();
  NativePlace place_;
  std::vector<std::shared_ptr<Saver>> savers_;
  milliseconds elapsed_{0};
  milliseconds longest_blocked_{0};
};

bool EndsAtTheDeadline(FrozenDisk& disk) {
  const auto results = disk.SaveFrozen();
  INFO(disk.elapsed().count() << " ms: " << Message(results[0].status()));
  bool good = disk.elapsed() < kDeadline + OneSecond() &&
              disk.longest_blocked() < Within(milliseconds(100));
  CHECK(good);
  for (const auto& result : results) {
    CHECK(NamesFileAndPhase(result.status()));
    good = good && NamesFileAndPhase(result.status());
  }
  CHECK(disk.Look() == Found::kOld);
  good = good && disk.Look() == Found::kOld;
  const Status next = disk.SaveWhenFree();
  INFO("next: " << Message(next));
  CHECK(next.ok());
  CHECK(disk.Look() == Found::kNew);
  return good && next.ok() && disk.Look() == Found::kNew;
}

TEST_CASE("a frozen disk ends the save at the deadline", "[R15]") {
  const std::string trial = "ext4 that is frozen (FIFREEZE)";
  for (const Case& test :
       {Case{SaveBy::kCaller, 2, ""}, Case{SaveBy::kThread, 2, ", async saves"},
        Case{SaveBy::kProcess, 1, ", async by a saver"},
        Case{SaveBy::kProcess, 2, ", async by savers of 2 ranks"}}) {
    auto mounted = MountedDisk::Ext4();
    if (!mounted.ok()) {
      ReportSkipped("R15", trial, std::string(Message(mounted.status())));
      return;
    }
    FrozenDisk disk(**mounted, test);
    const bool good = EndsAtTheDeadline(disk);
    Report({.row = "R15",
            .trial = trial + test.name,
            .count = 1,
            .bad = good ? 0 : 1,
            .note = "failed after " + std::to_string(disk.elapsed().count()) +
                    " ms"});
  }
}

}  // namespace
}  // namespace dcp::testing
