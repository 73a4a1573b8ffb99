// A real disk that is too small for the new checkpoint beside the old one.

#include <catch2/catch.hpp>
#include <string>

#include "reliability/mounted_disk.h"
#include "reliability/save_trials.h"
#include "testing/scoreboard.h"

namespace dcp::testing {
namespace {

TEST_CASE("a full disk keeps the old checkpoint and says what is missing",
          "[R8]") {
  const std::string trial = "tmpfs too small for old and new";
  int64_t count = 0;
  int64_t bad = 0;
  for (const SaveKind& kind : AllSaveKinds()) {
    // One checkpoint takes 1.2 MB, two do not fit.
    auto disk = MountedDisk::Tmpfs(int64_t{2} << 20);
    if (!disk.ok()) {
      ReportSkipped("R8", trial, std::string(Message(disk.status())));
      return;
    }
    SaveTrials trials(kind, (*disk)->path());
    const auto attempt = trials.TrySaveOther();
    const std::string message(Message(attempt));
    INFO(message);
    const bool good = !attempt.ok() && trials.Look() == Found::kOld &&
                      trials.Leftovers().empty();
    CHECK(good);
    CHECK_THAT(message, Catch::Contains("needs") && Catch::Contains("free"));
    ++count;
    bad += good ? 0 : 1;
  }
  Report({.row = "R8", .trial = trial, .count = count, .bad = bad});
}

}  // namespace
}  // namespace dcp::testing
