// Storage that hangs: a save in which one call never returns fails on every
// rank at the deadline, names the file, leaves the old checkpoint, and lets the
// process go on and end. When the call returns in the end, nothing comes of it.

#include <sys/wait.h>
#include <unistd.h>

#include <atomic>
#include <catch2/catch.hpp>
#include <chrono>
#include <cstdlib>
#include <memory>
#include <string>
#include <thread>

#include "checkpoint/old_or_new.h"
#include "checkpoint/rank_threads.h"
#include "io/stall.h"
#include "reliability/mounted_disk.h"
#include "testing/fault_injection_file_system.h"
#include "testing/gate.h"
#include "testing/scoreboard.h"

namespace dcp::testing {
namespace {

using std::chrono::milliseconds;
using std::chrono::seconds;
using SteadyClock = std::chrono::steady_clock;

constexpr milliseconds kDeadline{200};
const seconds kMargin = OneSecond();
constexpr int kRanks = 2;

/// A checkpoint in memory, of two ranks, and storage that hangs in one call.
class HungStorage {
 public:
  /// Two ranks count their calls together, so `n` may be any rank's.
  explicit HungStorage(int64_t n) : n_(n) {
    place_.fs = faulty_;
    place_.writer.file_count = 2;
    place_.writer.io = ModestIo(IoEngineKind::kThreads);
    place_.writer.io.block_nbytes = int64_t{256} << 10;
    place_.writer.io.stall_timeout = std::chrono::minutes(10);
    RequireAllSucceed(Save(states_.old_state));
  }
  ~HungStorage() { gate_->Open(); }

  /// A save over the old state, in which call n hangs.
  std::vector<StatusOr<SaveResult>> TrySave() {
    faulty_->Restart({.on_call = [n = n_, gate = gate_, called = called_](
                                     int64_t i, FsOp op, const std::string&) {
      if (i != n) return;
      *called = op;
      gate->Pass();
    }});
    place_.writer.io.stall_timeout = kDeadline;
    auto results = Save(states_.new_state);
    place_.writer.io.stall_timeout = std::chrono::minutes(10);
    return results;
  }

  /// A save that nothing disturbs.
  std::vector<StatusOr<SaveResult>> SaveNew() {
    return Save(states_.new_state);
  }

  /// Has the hung call return, and waits until nobody uses the storage.
  void Release() {
    gate_->Open();
    place_.fs.reset();
    while (faulty_.use_count() > 1) std::this_thread::yield();
    place_.fs = faulty_;
  }

  Found Look() { return WhatIsIn(place_, states_); }
  std::optional<FsOp> called() const { return *called_; }

 private:
  std::vector<StatusOr<SaveResult>> Save(const conformance::State& state) {
    return SaveOnRanks(Sharded(state, kRanks), NativeStorage(place_));
  }

  const int64_t n_;
  const OldAndNew states_ = LargerStates();
  const std::shared_ptr<Gate> gate_ = std::make_shared<Gate>();
  const std::shared_ptr<std::optional<FsOp>> called_ =
      std::make_shared<std::optional<FsOp>>();
  std::shared_ptr<FaultInjectionFileSystem> faulty_ =
      std::make_shared<FaultInjectionFileSystem>(MakeMemoryFileSystem());
  NativePlace place_;
};

bool NamesFileAndPhase(const Status& status) {
  const auto failures = GetRankFailures(status);
  if (!failures || failures->phase.empty()) return false;
  return std::all_of(failures->by_rank.begin(), failures->by_rank.end(),
                     [](const auto& failure) {
                       const auto detail = GetErrorDetail(failure.second);
                       return IsStall(failure.second) &&
                              detail->path.starts_with('/') &&
                              Message(failure.second).find(detail->path) !=
                                  std::string_view::npos;
                     });
}

struct Counts {
  int64_t trials = 0;
  int64_t bad = 0;
  int64_t failed = 0;
  int64_t in_doubt = 0;
  milliseconds longest{0};
};

/// False when the save makes fewer calls than `n`.
bool Try(int64_t n, Counts* counts) {
  HungStorage storage(n);
  const auto begin = SteadyClock::now();
  const auto results = storage.TrySave();
  const auto elapsed =
      std::chrono::duration_cast<milliseconds>(SteadyClock::now() - begin);
  if (!storage.called()) return false;
  const Status& first = results[0].status();
  INFO("call " << n << " of kind " << int(*storage.called()) << ", after "
               << elapsed.count() << " ms: " << Message(first));
  bool good = elapsed < kDeadline + kMargin;
  for (const auto& result : results) {
    good = good && result.ok() == results[0].ok() &&
           (result.ok() || NamesFileAndPhase(result.status()));
  }
  const Found before = storage.Look();
  storage.Release();
  const Found after = storage.Look();
  // What may have been published was said to be in doubt.
  const bool in_doubt = IsInDoubt(first);
  const Found allowed = first.ok() ? Found::kNew : Found::kOld;
  good = good && (before == allowed || in_doubt) &&
         (after == allowed || (in_doubt && after == Found::kNew));
  const auto next = storage.SaveNew();
  good = good && next[0].ok() && storage.Look() == Found::kNew;
  CHECK(good);
  ++counts->trials;
  counts->bad += good ? 0 : 1;
  counts->failed += first.ok() ? 0 : 1;
  counts->in_doubt += in_doubt ? 1 : 0;
  counts->longest = std::max(counts->longest, elapsed);
  return true;
}

TEST_CASE("a call that never returns ends the save at the deadline", "[R15]") {
  Counts counts;
  const int64_t step = Trials(7, 1);
  for (int64_t n = 1; Try(n, &counts); n += step) {
  }
  CHECK(counts.failed > 0);
  Report({.row = "R15",
          .trial = "each call of the storage hangs, 2 ranks",
          .count = counts.trials,
          .bad = counts.bad,
          .note = std::to_string(counts.failed) + " failed, " +
                  std::to_string(counts.in_doubt) +
                  " of them in doubt, all within " +
                  std::to_string(counts.longest.count()) +
                  " ms at a deadline of " + std::to_string(kDeadline.count()) +
                  " ms"});
}

TEST_CASE("while a write still hangs, the next save works", "[R15]") {
  const auto gate = std::make_shared<Gate>();
  const auto faulty =
      std::make_shared<FaultInjectionFileSystem>(MakeMemoryFileSystem());
  const OldAndNew states = LargerStates();
  NativePlace place{.fs = faulty};
  place.writer.io = ModestIo(IoEngineKind::kThreads);
  RequireAllSucceed(
      SaveOnRanks(Sharded(states.old_state, 1), NativeStorage(place)));
  faulty->Restart(
      {.on_call = [gate, hung = false](int64_t, FsOp op,
                                       const std::string& path) mutable {
        if (op != FsOp::kWrite || hung || !path.ends_with(".distcp")) return;
        hung = true;
        gate->Pass();
      }});
  place.writer.io.stall_timeout = kDeadline;
  const auto failed =
      SaveOnRanks(Sharded(states.new_state, 1), NativeStorage(place));
  CHECK(NamesFileAndPhase(failed[0].status()));
  CHECK(WhatIsIn(place, states) == Found::kOld);
  faulty->Restart({});
  place.writer.io.stall_timeout = std::chrono::minutes(10);
  RequireAllSucceed(
      SaveOnRanks(Sharded(states.new_state, 1), NativeStorage(place)));
  CHECK(WhatIsIn(place, states) == Found::kNew);
  gate->Open();
  gate->AwaitWaiting(0);
  place.fs.reset();
  while (faulty.use_count() > 1) std::this_thread::yield();
  place.fs = faulty;
  CHECK(WhatIsIn(place, states) == Found::kNew);
  Report({.row = "R15", .trial = "the next save, while it hangs", .count = 1});
}

/// In a child: a save that hangs, then the end of the process.
[[noreturn]] void SaveAndExit() {
  HungStorage storage(30);
  const auto results = storage.TrySave();
  // Without a destructor that would open the gate.
  std::exit(NamesFileAndPhase(results[0].status()) ? 42 : 1);
}

TEST_CASE("a process with a save that hangs can end", "[R15]") {
  const pid_t child = ::fork();
  if (child == 0) SaveAndExit();
  int status = 0;
  REQUIRE(::waitpid(child, &status, 0) == child);
  CHECK(WIFEXITED(status));
  CHECK(WEXITSTATUS(status) == 42);
  Report({.row = "R15",
          .trial = "exit() while a call hangs",
          .count = 1,
          .bad = WIFEXITED(status) && WEXITSTATUS(status) == 42 ? 0 : 1});
}

TEST_CASE("a frozen disk ends the save at the deadline", "[R15]") {
  const std::string trial = "ext4 that is frozen (FIFREEZE)";
  auto disk = MountedDisk::Ext4();
  if (!disk.ok()) {
    ReportSkipped("R15", trial, std::string(Message(disk.status())));
    return;
  }
  const OldAndNew states = LargerStates();
  NativePlace place{.fs = MakePosixFileSystem(),
                    .directory = (*disk)->path() + "/ckpt"};
  RequireAllSucceed(
      SaveOnRanks(Sharded(states.old_state, kRanks), NativeStorage(place)));
  place.writer.io.stall_timeout = seconds(1);
  DCP_CHECK_OK((*disk)->Freeze());
  const auto begin = SteadyClock::now();
  const auto results =
      SaveOnRanks(Sharded(states.new_state, kRanks), NativeStorage(place));
  const auto elapsed = SteadyClock::now() - begin;
  DCP_CHECK_OK((*disk)->Thaw());
  INFO(Message(results[0].status()));
  bool good = elapsed < seconds(1) + kMargin;
  for (const auto& result : results) {
    good = good && NamesFileAndPhase(result.status());
  }
  good = good && WhatIsIn(place, states) == Found::kOld;
  // The lock goes when the frozen call has come back.
  place.writer.io.stall_timeout = std::chrono::minutes(10);
  auto next = results[0].status();
  for (const auto end = SteadyClock::now() + seconds(30);
       !next.ok() && SteadyClock::now() < end;) {
    next =
        SaveOnRanks(Sharded(states.new_state, kRanks), NativeStorage(place))[0]
            .status();
  }
  INFO("next: " << Message(next));
  good = good && next.ok() && WhatIsIn(place, states) == Found::kNew;
  CHECK(good);
  Report({.row = "R15", .trial = trial, .count = 1, .bad = good ? 0 : 1});
}

}  // namespace
}  // namespace dcp::testing
