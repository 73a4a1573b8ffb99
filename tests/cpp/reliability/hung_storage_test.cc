// Storage that hangs: a save in which one call never returns fails on every
// rank at the deadline, names the file, leaves the old checkpoint, and lets the
// process go on and end. When the call returns in the end, nothing comes of it.
// An asynchronous save's trainer never waits for the storage.

#include <sys/wait.h>
#include <unistd.h>

#include <atomic>
#include <catch2/catch.hpp>
#include <chrono>
#include <cstdlib>
#include <memory>
#include <string>
#include <thread>

#include "checkpoint/async_rank_saves.h"
#include "checkpoint/old_or_new.h"
#include "checkpoint/rank_threads.h"
#include "reliability/stalls.h"
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
// What a trainer's thread may be kept from its work for.
const milliseconds kMaxBlocked = Within(milliseconds(100));
constexpr int kRanks = 2;

enum class SaveCall : uint8_t { kSave, kAsyncSave };

const char* SuffixOf(SaveCall call) {
  return call == SaveCall::kSave ? "" : ", async saves";
}

/// A checkpoint in memory, of two ranks, and storage that hangs in one call.
class HungStorage {
 public:
  /// Two ranks count their calls together, so `n` may be any rank's.
  HungStorage(int64_t n, SaveCall call) : n_(n), call_(call) {
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
  /// The longest that an asynchronous save kept its caller.
  milliseconds longest_blocked() const { return longest_blocked_; }

 private:
  std::vector<StatusOr<SaveResult>> Save(const conformance::State& state) {
    const AllEntries entries = Sharded(state, kRanks);
    if (call_ == SaveCall::kSave) {
      return SaveOnRanks(entries, NativeStorage(place_));
    }
    AsyncRankSaves saves(entries, NativeStorage(place_));
    DCP_CHECK_OK(saves.status);
    longest_blocked_ = std::max(longest_blocked_, saves.longest_blocked);
    return saves.Wait();
  }

  const int64_t n_;
  const SaveCall call_;
  milliseconds longest_blocked_{0};
  const OldAndNew states_ = LargerStates();
  const std::shared_ptr<Gate> gate_ = std::make_shared<Gate>();
  const std::shared_ptr<std::optional<FsOp>> called_ =
      std::make_shared<std::optional<FsOp>>();
  std::shared_ptr<FaultInjectionFileSystem> faulty_ =
      std::make_shared<FaultInjectionFileSystem>(MakeMemoryFileSystem());
  NativePlace place_;
};

struct Counts {
  int64_t trials = 0;
  int64_t bad = 0;
  int64_t failed = 0;
  int64_t in_doubt = 0;
  milliseconds longest{0};
  milliseconds longest_blocked{0};
};

/// False when the save makes fewer calls than `n`.
bool Try(int64_t n, SaveCall call, Counts* counts) {
  HungStorage storage(n, call);
  const auto begin = SteadyClock::now();
  const auto results = storage.TrySave();
  const auto elapsed =
      std::chrono::duration_cast<milliseconds>(SteadyClock::now() - begin);
  if (!storage.called()) return false;
  const Status& first = results[0].status();
  INFO("call " << n << " of kind " << int(*storage.called()) << ", after "
               << elapsed.count() << " ms: " << Message(first));
  bool good =
      elapsed < kDeadline + kMargin && storage.longest_blocked() < kMaxBlocked;
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
  counts->longest_blocked =
      std::max(counts->longest_blocked, storage.longest_blocked());
  return true;
}

std::string NoteOf(const Counts& counts, SaveCall call) {
  std::string note =
      std::to_string(counts.failed) + " failed, " +
      std::to_string(counts.in_doubt) + " of them in doubt, all within " +
      std::to_string(counts.longest.count()) + " ms at a deadline of " +
      std::to_string(kDeadline.count()) + " ms";
  if (call == SaveCall::kSave) return note;
  return note + "; the trainer was kept for at most " +
         std::to_string(counts.longest_blocked.count()) + " ms";
}

TEST_CASE("a call that never returns ends the save at the deadline", "[R15]") {
  for (const SaveCall call : {SaveCall::kSave, SaveCall::kAsyncSave}) {
    Counts counts;
    const int64_t step = Trials(call == SaveCall::kSave ? 7 : 11, 1);
    for (int64_t n = 1; Try(n, call, &counts); n += step) {
    }
    CHECK(counts.failed > 0);
    Report({.row = "R15",
            .trial = std::string("each call of the storage hangs, 2 ranks") +
                     SuffixOf(call),
            .count = counts.trials,
            .bad = counts.bad,
            .note = NoteOf(counts, call)});
  }
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
[[noreturn]] void SaveAndExit(SaveCall call) {
  HungStorage storage(30, call);
  const auto results = storage.TrySave();
  // Without a destructor that would open the gate.
  std::exit(NamesFileAndPhase(results[0].status()) ? 42 : 1);
}

TEST_CASE("a process with a save that hangs can end", "[R15]") {
  for (const SaveCall call : {SaveCall::kSave, SaveCall::kAsyncSave}) {
    const pid_t child = ::fork();
    if (child == 0) SaveAndExit(call);
    int status = 0;
    REQUIRE(::waitpid(child, &status, 0) == child);
    const bool good = WIFEXITED(status) && WEXITSTATUS(status) == 42;
    CHECK(good);
    Report({.row = "R15",
            .trial = std::string("exit() while a call hangs") + SuffixOf(call),
            .count = 1,
            .bad = good ? 0 : 1});
  }
}

}  // namespace
}  // namespace dcp::testing
