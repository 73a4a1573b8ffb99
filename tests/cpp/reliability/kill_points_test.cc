// A process that ends before or after any of its system calls leaves the old
// checkpoint or the new one; so does a saver, or its trainer.

#include <catch2/catch.hpp>
#include <iostream>
#include <string>

#include "reliability/traced_saves.h"
#include "testing/scoreboard.h"

namespace dcp::testing {
namespace {

struct Counts {
  int64_t trials = 0;
  int64_t bad = 0;
  int64_t found_old = 0;
  int64_t found_new = 0;
};

/// A save of which a process is killed at call number `n`; false if it has
/// fewer calls. A saver goes on when its trainer is killed, and a trainer
/// reports that its saver was.
bool KillAt(SaveTrials& trials, CallStop stop, int64_t n, Counts* counts) {
  bool was_killed = false;
  const TraceResult result = TraceSave(trials, [&](const TracedCall& call) {
    if (call.n != n || call.stop != stop) return Verdict{};
    was_killed = true;
    return Verdict{Verdict::Action::kKill};
  });
  const Found found = trials.Look();
  INFO("killed " << (stop == CallStop::kBefore ? "before" : "after") << " call "
                 << n << ", found " << int(found));
  const bool good = found == Found::kOld || found == Found::kNew;
  CHECK(good);
  CHECK_FALSE(result.hung);
  if (!was_killed) {
    CHECK(result.exit_code == kSaved);
    CHECK(trials.Leftovers().empty());
  }
  if (result.exit_code == kSaved) CHECK(trials.IsSaved());
  ++counts->trials;
  counts->bad += good ? 0 : 1;
  ++(found == Found::kNew ? counts->found_new : counts->found_old);
  trials.Keep(found);
  return was_killed;
}

TEST_CASE("a process that ends at any system call leaves old or new", "[R1]") {
  const std::string trial = "exit before and after every I/O call";
  if (const auto why = WhyNotTraced()) {
    ReportSkipped("R1", trial, *why);
    return;
  }
  int64_t first = 1;
  for (const SaveKind& kind : AllAndAsyncSaveKinds()) {
    // make test takes every eleventh call, each kind another one first.
    const bool is_native = kind.format == FileFormat::kNative;
    const int64_t step = Trials(is_native ? 11 : 53, 1);
    Counts counts;
    SaveTrials trials(kind);
    for (const CallStop stop : {CallStop::kBefore, CallStop::kAfter}) {
      int64_t n = first;
      while (KillAt(trials, stop, n, &counts)) n += step;
      CHECK(n > 40);
      CHECK(trials.SaveUndisturbed());
      CHECK(trials.Leftovers().empty());
      if (step > 1) first = first % step + 3;
    }
    CHECK(counts.found_old > 0);
    CHECK(counts.found_new > 0);
    Report({.row = "R1",
            .trial = trial + ", " + ToString(kind),
            .count = counts.trials,
            .bad = counts.bad,
            .note = std::to_string(counts.found_old) + " old, " +
                    std::to_string(counts.found_new) + " new"});
  }
}

}  // namespace
}  // namespace dcp::testing
