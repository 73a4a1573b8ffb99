// A save and a load where the system forbids what they normally use: the same
// bytes in the files, and the same results. restricted_main.cc puts each
// restriction in force, for as long as its process lives. What the choice of
// engine says is tested in tests/cpp/io/restricted_test.cc, what of it comes
// into the log in tests/python/test_io_fallback.py.

#include <algorithm>
#include <catch2/catch.hpp>
#include <map>
#include <string>

#include "checkpoint/old_or_new.h"
#include "checkpoint/rank_threads.h"
#include "testing/scoreboard.h"
#include "testing/temp_directory.h"

namespace dcp::testing {
namespace {

/// Data files by name. They depend on the state alone; metadata and sidecar
/// name the save.
std::map<std::string, std::string> DataFiles(const NativePlace& place) {
  std::map<std::string, std::string> files;
  const auto entries = place.fs->List(place.directory).value();
  for (const DirectoryEntry& entry : entries) {
    if (!entry.name.ends_with(".distcp")) continue;
    files[entry.name] = conformance::MustReadFile(
        *place.fs, JoinPath(place.directory, entry.name));
  }
  return files;
}

/// Small blocks, so that several are in flight.
IoOptions SmallBlocks() {
  IoOptions io = ModestIo(IoEngineKind::kAuto);
  io.block_nbytes = int64_t{256} << 10;
  return io;
}

Status SaveOnTwoRanks(const NativePlace& place,
                      const conformance::State& state) {
  for (const auto& result :
       SaveOnRanks(Sharded(state, 2), NativeStorage(place))) {
    DCP_RETURN_IF_ERROR(result.status());
  }
  return absl::OkStatus();
}

/// Saves over a checkpoint and loads; true if all is as in memory, where
/// nothing can be restricted.
bool SavesAndLoadsTheSame(const IoOptions& io) {
  const OldAndNew states = LargerStates();
  const NativePlace expected{.fs = MakeMemoryFileSystem(),
                             .writer = {.file_count = 2, .io = SmallBlocks()}};
  const TempDirectory directory;
  const NativePlace place{.fs = MakePosixFileSystem(),
                          .directory = directory.path() + "/ckpt",
                          .writer = {.file_count = 2, .io = io},
                          .reader = {.io = io}};
  for (const auto* state : {&states.old_state, &states.new_state}) {
    for (const NativePlace& each : {expected, place}) {
      const Status saved = SaveOnTwoRanks(each, *state);
      INFO(Message(saved));
      CHECK(saved.ok());
      if (!saved.ok()) return false;
    }
  }
  const bool same_bytes = DataFiles(place) == DataFiles(expected);
  CHECK(same_bytes);
  std::vector<std::vector<conformance::Wanted>> wanted(
      2, conformance::AllOf(states.new_state));
  bool same_results = true;
  for (const auto& loaded : LoadOnRanks(wanted, NativeStorage(place))) {
    INFO(Message(loaded.status()));
    CHECK(loaded.ok());
    same_results = same_results && loaded.ok();
  }
  for (const auto& rank : wanted) {
    same_results = same_results && AllRight(states.new_state, rank);
  }
  CHECK(same_results);
  return same_bytes && same_results;
}

void Check(const std::string& trial) {
  int bad = 0;
  for (const DirectIo direct : {DirectIo::kTry, DirectIo::kOff}) {
    IoOptions io = SmallBlocks();
    io.direct_io = direct;
    bad += SavesAndLoadsTheSame(io) ? 0 : 1;
  }
  const auto engine = SelectIoEngine(IoEngineKind::kAuto);
  REQUIRE(engine.ok());
  const bool rings = engine->kind == IoEngineKind::kUring;
  Report({.row = "R25",
          .trial = trial,
          .count = 2,
          .bad = bad,
          .note = "with " + std::string(rings ? "io_uring" : "threads") + ": " +
                  engine->reason});
}

// One for each restriction: the tag is its name.

TEST_CASE("saves with all that there is", "[R25][nothing]") {
  Check("nothing is forbidden");
}

TEST_CASE("saves where io_uring is forbidden", "[R25][no-setup]") {
  Check("io_uring_setup: EPERM");
}

TEST_CASE("saves where there is no io_uring", "[R25][no-uring]") {
  Check("io_uring_setup: ENOSYS");
}

TEST_CASE("saves where io_uring can be set up only", "[R25][no-enter]") {
  Check("io_uring_enter: EPERM");
}

TEST_CASE("saves where openat2 is forbidden", "[R25][no-openat2]") {
  Check("openat2: EPERM");
}

TEST_CASE("saves with 64 KiB of locked memory", "[R25][low-memlock]") {
  Check("RLIMIT_MEMLOCK of 64 KiB");
}

TEST_CASE("saves without direct I/O", "[R25][no-direct]") {
  const TempDirectory directory;
  const auto file = MakePosixFileSystem()->Open(
      directory.path() + "/f",
      {.mode = OpenMode::kCreateNew, .direct_io = DirectIo::kRequire});
  CHECK(file.status().code() == absl::StatusCode::kUnimplemented);
  Check("O_DIRECT: EINVAL");
}

}  // namespace
}  // namespace dcp::testing
