// The commit protocol between ranks that take turns, and which crash, lose
// messages and stop answering, as a seed decides.

#include <catch2/catch.hpp>
#include <memory>
#include <optional>
#include <random>
#include <string>
#include <thread>
#include <vector>

#include "checkpoint/old_or_new.h"
#include "checkpoint/rank_threads.h"
#include "dcp/clean.h"
#include "reliability/simulated_network.h"
#include "reliability/turns.h"
#include "testing/fault_injection_file_system.h"
#include "testing/scoreboard.h"

namespace dcp::testing {
namespace {

constexpr int kMaxRanks = 16;

/// What goes wrong in one run.
struct Scenario {
  int world_size = 2;
  double loss = 0;
  /// By rank: the file system calls after which it crashes.
  std::vector<std::optional<int64_t>> crash_after;
};

Scenario Draw(uint64_t seed) {
  std::mt19937_64 random(seed);
  const auto pick = [&](int64_t low, int64_t high) {
    return std::uniform_int_distribution<int64_t>(low, high)(random);
  };
  Scenario scenario{.world_size = static_cast<int>(pick(2, kMaxRanks))};
  scenario.crash_after.resize(static_cast<size_t>(scenario.world_size));
  const int64_t kind = pick(0, 9);
  if (kind <= 4) scenario.loss = 0.2 / static_cast<double>(scenario.world_size);
  if (kind >= 4 && kind <= 7) {  // one or two ranks crash
    for (int64_t i = pick(1, 2); i > 0; --i) {
      const auto victim = static_cast<size_t>(pick(0, scenario.world_size - 1));
      scenario.crash_after[pick(0, 1) == 0 ? 0 : victim] = pick(0, 40);
    }
  }
  if (kind == 8) {  // all do
    for (auto& crash : scenario.crash_after) crash = pick(0, 40);
  }
  return scenario;
}

const AllEntries& EntriesOf(int world_size) {
  static const std::vector<AllEntries> kBySize = [] {
    std::vector<AllEntries> by_size(1);
    for (int size = 1; size <= kMaxRanks; ++size) {
      by_size.push_back(Sharded(SmallStates().new_state, size));
    }
    return by_size;
  }();
  return kBySize[static_cast<size_t>(world_size)];
}

NativePlace PlaceOn(std::shared_ptr<FileSystem> fs, uint64_t seed) {
  NativePlace place{.fs = std::move(fs),
                    .min_indexed_items = seed % 2 == 0 ? 1 : kMinIndexedItems};
  place.writer.io = ModestIo(IoEngineKind::kThreads);
  place.writer.io.workers = 1;  // on the rank's own thread, which takes turns
  return place;
}

/// One save by all ranks of `scenario` over what is in `disk`.
std::vector<StatusOr<SaveResult>> Simulate(
    const Scenario& scenario, uint64_t seed,
    const std::shared_ptr<FileSystem>& disk) {
  Turns turns(scenario.world_size, seed);
  SimulatedNetwork network(scenario.world_size, scenario.loss, turns);
  const auto& entries = EntriesOf(scenario.world_size);
  return OnRanks<StatusOr<SaveResult>>(entries.size(), [&](size_t rank) {
    const int number = static_cast<int>(rank);
    turns.Join(number);
    StatusOr<SaveResult> result = Internal("not run");
    {
      auto transport = network.Connect(number);
      auto fs = std::make_shared<FaultInjectionFileSystem>(
          disk, FaultScript{.power_cut_after = scenario.crash_after[rank],
                            .on_call = [&](int64_t, FsOp, const std::string&) {
                              turns.Yield(number);
                            }});
      const auto writer = NativeStorage(PlaceOn(fs, seed)).make_writer();
      result = Save(entries[rank].span(), *writer, *transport, {});
      // A rank that crashed tells nobody anything.
      if (fs->power_is_cut() && result.ok()) result = Internal("crashed");
    }
    turns.Leave(number);
    return result;
  });
}

/// Runs one seed; whether all promises held.
bool Hold(uint64_t seed, int64_t* committed) {
  const Scenario scenario = Draw(seed);
  const auto disk = MakeMemoryFileSystem();
  const OldAndNew states = SmallStates();
  DCP_CHECK_OK(conformance::SaveOnce(
      NativeStorage(PlaceOn(disk, seed)), states.old_state,
      conformance::ShardedState(states.old_state, scenario.world_size)));
  const auto results = Simulate(scenario, seed, disk);
  const Found found = WhatIsIn(PlaceOn(disk, seed), states);
  bool good = found == Found::kOld || found == Found::kNew;
  for (const auto& result : results) {
    good = good && (!result.ok() || found == Found::kNew);
  }
  *committed += found == Found::kNew ? 1 : 0;
  // The restarted job.
  const Scenario calm{.world_size = scenario.world_size,
                      .crash_after = std::vector<std::optional<int64_t>>(
                          scenario.crash_after.size())};
  for (const auto& result : Simulate(calm, seed, disk)) {
    good = good && result.ok();
  }
  const auto leftovers =
      CleanCheckpoint("/ckpt", {.dry_run = true}, {.file_system = disk});
  return good && WhatIsIn(PlaceOn(disk, seed), states) == Found::kNew &&
         leftovers.ok() && leftovers->empty();
}

TEST_CASE("ranks that crash or lose messages leave the old or the new one",
          "[R28]") {
  const int64_t count = Trials(400, 100'000);
  int64_t bad = 0;
  int64_t committed = 0;
  for (int64_t seed = 1; seed <= count; ++seed) {
    INFO("seed " << seed);
    const bool good = Hold(static_cast<uint64_t>(seed), &committed);
    CHECK(good);
    bad += good ? 0 : 1;
  }
  CHECK(committed > count / 20);
  CHECK(committed < count - count / 20);
  Report({.row = "R28",
          .trial = "simulated saves of 2 to 16 ranks with crashes and losses",
          .count = count,
          .bad = bad,
          .seed = 1,
          .note = std::to_string(committed) + " were committed"});
}

}  // namespace
}  // namespace dcp::testing
