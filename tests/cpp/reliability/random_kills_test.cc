// SIGKILL at random moments of overwriting saves.

#include <sys/wait.h>
#include <unistd.h>

#include <catch2/catch.hpp>
#include <chrono>
#include <csignal>
#include <random>
#include <string>
#include <thread>

#include "reliability/save_trials.h"
#include "testing/scoreboard.h"

namespace dcp::testing {
namespace {

using Microseconds = std::chrono::duration<double, std::micro>;

/// A save in a child, killed after `delay`; whether it was still at work.
bool KillAfter(const SaveTrials& trials, Microseconds delay) {
  const pid_t child = ::fork();
  if (child == 0) ::_exit(trials.SaveOther());
  std::this_thread::sleep_for(delay);
  ::kill(child, SIGKILL);
  int status = 0;
  REQUIRE(::waitpid(child, &status, 0) == child);
  return WIFSIGNALED(status);
}

/// The time of a save in a child that is left alone.
Microseconds TimeOf(SaveTrials& trials) {
  const auto begin = std::chrono::steady_clock::now();
  const pid_t child = ::fork();
  if (child == 0) ::_exit(trials.SaveOther());
  int status = 0;
  REQUIRE(::waitpid(child, &status, 0) == child);
  REQUIRE(WIFEXITED(status));
  trials.Keep(Found::kNew);
  return std::chrono::steady_clock::now() - begin;
}

TEST_CASE("kill -9 at any moment leaves the old checkpoint or the new one",
          "[R2]") {
  constexpr uint64_t kSeed = 2;
  std::vector<SaveKind> kinds = AllSaveKinds();
  kinds.push_back({.compression = Compression::kZstd});
  const auto count = Trials(150, 10'000) / static_cast<int64_t>(kinds.size());
  std::mt19937_64 random(kSeed);
  for (const SaveKind& kind : kinds) {
    SaveTrials trials(kind);
    Microseconds longest = TimeOf(trials);
    for (int i = 0; i < 4; ++i) longest = std::max(longest, TimeOf(trials));
    int64_t killed = 0;
    int64_t bad = 0;
    int64_t found_new = 0;
    while (killed < count) {
      std::uniform_real_distribution<double> delay(0, longest.count());
      if (KillAfter(trials, Microseconds(delay(random)))) ++killed;
      const Found found = trials.Look();
      const bool good = found == Found::kOld || found == Found::kNew;
      CHECK(good);
      bad += good ? 0 : 1;
      found_new += found == Found::kNew ? 1 : 0;
      trials.Keep(found);
    }
    CHECK(trials.SaveUndisturbed());
    CHECK(trials.Leftovers().empty());
    Report({.row = "R2",
            .trial = "SIGKILL in an overwriting save, " + ToString(kind),
            .count = killed,
            .bad = bad,
            .seed = kSeed,
            .note = std::to_string(found_new) + " saves had been committed"});
  }
}

}  // namespace
}  // namespace dcp::testing
