// The power cut of a real ext4, after a save has returned and while it runs.

#include <sys/wait.h>
#include <unistd.h>

#include <catch2/catch.hpp>
#include <chrono>
#include <random>
#include <string>
#include <thread>

#include "reliability/mounted_disk.h"
#include "reliability/save_trials.h"
#include "testing/scoreboard.h"

namespace dcp::testing {
namespace {

enum class Moment : uint8_t { kAfterReturn, kDuring };

/// A save in a child, and a power cut. Whether the save had returned OK.
bool SaveAndCut(const SaveTrials& trials, const MountedDisk& disk,
                Moment moment, std::chrono::microseconds delay) {
  const pid_t child = ::fork();
  if (child == 0) ::_exit(trials.SaveOther());
  int status = 0;
  if (moment == Moment::kDuring) {
    std::this_thread::sleep_for(delay);
    DCP_CHECK_OK(disk.CutPower());
  }
  REQUIRE(::waitpid(child, &status, 0) == child);
  if (moment == Moment::kAfterReturn) DCP_CHECK_OK(disk.CutPower());
  return WIFEXITED(status) && WEXITSTATUS(status) == kSaved;
}

void CutOften(const SaveKind& kind, Moment moment, std::string trial,
              int64_t count) {
  constexpr uint64_t kSeed = 5;
  if (kind.format != FileFormat::kNative) trial += ", " + ToString(kind.format);
  auto disk = MountedDisk::Ext4();
  if (!disk.ok()) {
    ReportSkipped("R5", trial, std::string(Message(disk.status())));
    return;
  }
  std::mt19937_64 random(kSeed);
  std::uniform_int_distribution<int> delay(0, 30'000);
  SaveTrials trials(kind, (*disk)->path());
  int64_t bad = 0;
  int64_t returned = 0;
  int64_t found_new = 0;
  for (int64_t i = 0; i < count; ++i) {
    const bool ok = SaveAndCut(trials, **disk, moment,
                               std::chrono::microseconds(delay(random)));
    DCP_CHECK_OK((*disk)->Reboot());
    const Found found = trials.Look();
    INFO("trial " << i << ", returned OK " << ok << ", found " << int(found));
    const bool good =
        ok ? trials.IsSaved() : found == Found::kNew || found == Found::kOld;
    CHECK(good);
    bad += good ? 0 : 1;
    returned += ok ? 1 : 0;
    found_new += found == Found::kNew ? 1 : 0;
    trials.Keep(found);
  }
  if (moment == Moment::kAfterReturn) CHECK(returned == count);
  Report({.row = "R5",
          .trial = trial,
          .count = count,
          .bad = bad,
          .seed = kSeed,
          .note = std::to_string(returned) + " saves had returned; " +
                  std::to_string(found_new) + " new"});
}

const SaveKind kNativeFiles;
const SaveKind kExchanged{.format = FileFormat::kSafetensors, .file_count = 4};
const SaveKind kInPlace{.format = FileFormat::kSafetensorsInPlace};

TEST_CASE("what a save reported as saved survives a real power cut", "[R5]") {
  const std::string trial = "ext4, right after the save returned";
  CutOften(kNativeFiles, Moment::kAfterReturn, trial, Trials(6, 200));
  for (const SaveKind& kind : {kExchanged, kInPlace}) {
    CutOften(kind, Moment::kAfterReturn, trial, Trials(1, 200));
  }
}

TEST_CASE("a real power cut in a save leaves the old or the new one", "[R5]") {
  const std::string trial = "ext4, at a random moment of the save";
  CutOften(kNativeFiles, Moment::kDuring, trial, Trials(6, 200));
  for (const SaveKind& kind : {kExchanged, kInPlace}) {
    CutOften(kind, Moment::kDuring, trial, Trials(1, 200));
  }
}

}  // namespace
}  // namespace dcp::testing
