// A process that ends before or after any of its system calls leaves the old
// checkpoint or the new one.

#include <catch2/catch.hpp>
#include <iostream>
#include <string>

#include "reliability/save_trials.h"
#include "reliability/syscall_tracer.h"
#include "testing/scoreboard.h"

namespace dcp::testing {
namespace {

struct Counts {
  int64_t trials = 0;
  int64_t bad = 0;
  int64_t found_old = 0;
  int64_t found_new = 0;
};

/// A save that is killed at call number `n`; false if it has fewer calls.
bool KillAt(SaveTrials& trials, CallStop stop, int64_t n, Counts* counts) {
  const TraceResult result =
      RunTraced([&] { return trials.SaveOther(); },
                [&](const TracedCall& call) {
                  return call.n == n && call.stop == stop
                             ? Verdict{Verdict::Action::kKill}
                             : Verdict{};
                });
  const Found found = trials.Look();
  INFO("killed " << (stop == CallStop::kBefore ? "before" : "after") << " call "
                 << n << ", found " << int(found));
  const bool good = found == Found::kOld || found == Found::kNew;
  CHECK(good);
  CHECK_FALSE(result.hung);
  if (result.exit_code) {
    CHECK(*result.exit_code == kSaved);
    CHECK(found == Found::kNew);
    CHECK(trials.Leftovers().empty());
  }
  ++counts->trials;
  counts->bad += good ? 0 : 1;
  ++(found == Found::kNew ? counts->found_new : counts->found_old);
  trials.Keep(found);
  return !result.exit_code;
}

TEST_CASE("a process that ends at any system call leaves old or new", "[R1]") {
  const std::string trial = "exit before and after every I/O call";
  if (const auto why = WhyNotTraced()) {
    ReportSkipped("R1", trial, *why);
    return;
  }
  // make test takes every eleventh call, each kind another one first.
  const int64_t step = Trials(11, 1);
  int64_t first = 1;
  for (const SaveKind& kind : AllSaveKinds()) {
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
