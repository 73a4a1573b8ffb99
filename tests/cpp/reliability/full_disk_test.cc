// A real disk that is too small for the new checkpoint beside the old one.

#include <catch2/catch.hpp>
#include <string>

#include "reliability/mounted_disk.h"
#include "reliability/save_trials.h"
#include "testing/scoreboard.h"

namespace dcp::testing {
namespace {

/// Saves into 2 MiB, where one checkpoint takes 1.2 MB; whether all is well.
bool KeepsTheOldOne(const SaveKind& kind, const std::string& disk) {
  SaveTrials trials(kind, disk);
  const auto attempt = trials.TrySaveOther();
  const std::string message(Message(attempt));
  INFO(message);
  CHECK_THAT(message, Catch::Contains("needs") && Catch::Contains("free"));
  const bool good = !attempt.ok() && trials.Look() == Found::kOld &&
                    trials.Leftovers().empty();
  CHECK(good);
  return good;
}

TEST_CASE("a full disk keeps the old checkpoint and says what is missing",
          "[R8]") {
  struct {
    const char* trial;
    std::vector<SaveKind> kinds;
  } const groups[] = {
      {"tmpfs too small for old and new", AllSaveKinds()},
      {"tmpfs too small for old and new, async saves", AsyncSaveKinds()}};
  for (const auto& [trial, kinds] : groups) {
    int64_t bad = 0;
    for (const SaveKind& kind : kinds) {
      auto disk = MountedDisk::Tmpfs(int64_t{2} << 20);
      if (!disk.ok()) {
        ReportSkipped("R8", trial, std::string(Message(disk.status())));
        return;
      }
      bad += KeepsTheOldOne(kind, (*disk)->path()) ? 0 : 1;
    }
    Report({.row = "R8",
            .trial = trial,
            .count = static_cast<int64_t>(kinds.size()),
            .bad = bad});
  }
}

}  // namespace
}  // namespace dcp::testing
