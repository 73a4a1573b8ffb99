// Several saves into one directory at a time, and what killed ones left there.

#include <sys/wait.h>
#include <unistd.h>

#include <catch2/catch.hpp>
#include <cerrno>
#include <csignal>
#include <filesystem>
#include <span>
#include <string>
#include <vector>

#include "checkpoint/any_format.h"
#include "checkpoint/old_or_new.h"
#include "dcp/async_save.h"
#include "dcp/saver.h"
#include "testing/fault_injection_file_system.h"
#include "testing/scoreboard.h"
#include "testing/temp_directory.h"

namespace dcp {
namespace {

using conformance::CheckHolds;
using conformance::SaveOnce;
using conformance::SmallState;
using conformance::StorageUnderTest;
using conformance::WholeState;
using testing::FaultInjectionFileSystem;
using testing::FsOp;

StorageUnderTest On(std::shared_ptr<FileSystem> fs) {
  return NativeStorage(NativePlace{.fs = std::move(fs)});
}

TEST_CASE("a save that comes while another is at work is told so",
          "[checkpoint]") {
  const auto memory = MakeMemoryFileSystem();
  bool tried = false;
  FaultInjectionFileSystem fs(
      memory, {.on_call = [&](int64_t, FsOp op, const std::string&) {
        if (op != FsOp::kWrite || tried) return;
        tried = true;
        const auto late =
            SaveOnRanks(Sharded(SmallState(2), 1), On(memory))[0].status();
        const auto failures = GetRankFailures(late);
        REQUIRE(failures.has_value());
        CHECK(failures->by_rank.at(0).code() == absl::StatusCode::kAborted);
      }});
  const std::shared_ptr<FileSystem> borrowed(&fs, [](FileSystem*) {});
  RequireAllSucceed(SaveOnRanks(Sharded(SmallState(1), 1), On(borrowed)));
  CHECK(tried);
  CheckHolds(On(memory), SmallState(1));
  RequireAllSucceed(SaveOnRanks(Sharded(SmallState(2), 1), On(memory)));
}

TEST_CASE("a save whose commit fails lets the next one in at once",
          "[checkpoint]") {
  const auto memory = MakeMemoryFileSystem();
  const auto faulty = std::make_shared<FaultInjectionFileSystem>(
      memory, testing::FaultScript{.faults = {{.op = FsOp::kRename}}});
  // It is in doubt, so that nobody aborts it, and it is kept.
  const conformance::State state = SmallState(1);
  conformance::SaveRun failed(On(faulty), state, WholeState(state));
  const Status status = failed.Run();
  CHECK(GetErrorDetail(status).value().error_number == EIO);
  DCP_CHECK_OK(SaveOnce(On(memory), SmallState(2), WholeState(SmallState(2))));
  CheckHolds(On(memory), SmallState(2));
}

TEST_CASE("a save whose commit is not permitted leaves nothing",
          "[checkpoint]") {
  const auto memory = MakeMemoryFileSystem();
  RequireAllSucceed(SaveOnRanks(Sharded(SmallState(1), 2), On(memory)));
  const auto before = memory->List("/ckpt").value();
  // As in a sticky directory, where the old metadata is another user's.
  const auto faulty = std::make_shared<FaultInjectionFileSystem>(
      memory, testing::FaultScript{
                  .faults = {{.op = FsOp::kRename, .error_number = EPERM}}});
  const auto results = SaveOnRanks(Sharded(SmallState(2), 2), On(faulty));
  RequireSameFailures(results);
  CHECK_FALSE(IsInDoubt(results[0].status()));
  CHECK(memory->List("/ckpt").value().size() == before.size());
  CheckHolds(On(memory), SmallState(1));
}

TEST_CASE("data that another writer removed is not published", "[checkpoint]") {
  const auto memory = MakeMemoryFileSystem();
  RequireAllSucceed(SaveOnRanks(Sharded(SmallState(1), 3), On(memory)));
  const std::string victim =
      GENERATE("/ckpt/__0_1.distcp", "/ckpt/__1_1.distcp");
  FaultInjectionFileSystem fs(
      memory, {.on_call = [&](int64_t, FsOp op, const std::string& path) {
        if (op == FsOp::kExists && path == victim) {
          REQUIRE(memory->Remove(victim).ok());
        }
      }});
  const std::shared_ptr<FileSystem> borrowed(&fs, [](FileSystem*) {});
  const auto results = SaveOnRanks(Sharded(SmallState(2), 3), On(borrowed));
  RequireSameFailures(results);
  CHECK_THAT(std::string(Message(results[0].status())),
             Catch::Contains(victim));
  CheckHolds(On(memory), SmallState(1));
}

/// Runs `body` in a forked process, which a signal may end.
template <typename Body>
pid_t Fork(const Body& body) {
  const pid_t pid = ::fork();
  if (pid == 0) {
    body();
    ::_exit(0);
  }
  return pid;
}

TEST_CASE("the next save removes what a killed one left", "[checkpoint]") {
  const bool overwrites = GENERATE(false, true);
  const testing::TempDirectory directory;
  const std::string path = directory.path() + "/ckpt";
  const conformance::State state = SmallState(1);
  const AllEntries entries = Sharded(state, 1);
  if (overwrites) REQUIRE(Save(path, entries[0].span()).ok());
  const pid_t pid = Fork([&] {
    FaultInjectionFileSystem fs(
        MakePosixFileSystem(),
        {.on_call = [](int64_t, FsOp op, const std::string&) {
          if (op == FsOp::kRename) ::kill(::getpid(), SIGKILL);
        }});
    const std::shared_ptr<FileSystem> borrowed(&fs, [](FileSystem*) {});
    const auto writer =
        MakeFileSystemWriter({.path = path}, {.file_system = borrowed});
    (void)Save(entries[0].span(), *writer, *MakeSingleProcessTransport(), {});
  });
  int status = 0;
  REQUIRE(::waitpid(pid, &status, 0) == pid);
  REQUIRE(WIFSIGNALED(status));
  const auto count = [&] {
    const std::filesystem::directory_iterator files(path);
    return std::distance(begin(files), end(files));
  };
  // Data, sidecar, unpublished metadata and the lock.
  CHECK(count() == (overwrites ? 3 + 4 : 4));
  REQUIRE(Save(path, entries[0].span()).ok());
  CHECK(count() == 3);
}

/// How a process saves.
struct SaveCall {
  const char* name;
  int64_t rounds;  ///< of `make test`
  Status (*run)(const AnyPlace& place, std::span<const SaveEntry> entries);
};

Status SaveNow(const AnyPlace& place, std::span<const SaveEntry> entries) {
  const auto writer = StorageAt(place).make_writer();
  return Save(entries, *writer, *MakeSingleProcessTransport(), {}).status();
}

Status SaveStaged(const AnyPlace& place, std::span<const SaveEntry> entries,
                  const StagingOptions& staging) {
  return AsyncSave(std::vector<SaveEntry>(entries.begin(), entries.end()),
                   nullptr,
                   {.writer = StorageAt(place).make_writer(),
                    .transport = MakeSingleProcessTransport()},
                   {.staging = staging})
      ->Wait()
      .status();
}

Status SaveInThread(const AnyPlace& place, std::span<const SaveEntry> entries) {
  return SaveStaged(place, entries, {});
}

Status SaveBySaver(const AnyPlace& place, std::span<const SaveEntry> entries) {
  DCP_ASSIGN_OR_RETURN(const auto saver,
                       Saver::Make({.program = DCP_SAVER_PROGRAM}));
  return SaveStaged(place, entries, {.saver = saver});
}

conformance::State StateOf(const AnyPlace& place, int writer) {
  const conformance::State state = SmallState(static_cast<uint64_t>(writer));
  return StatesFor(place.format, {.old_state = state}).old_state;
}

/// A process that saves the state of that number: its exit code is 0 if it won,
/// 1 if another one was at work.
pid_t StartWriter(const SaveCall& call, const AnyPlace& place, int number) {
  return Fork([&] {
    const AllEntries entries = Sharded(StateOf(place, number), 1);
    const Status status = call.run(place, entries[0].span());
    const auto failures = GetRankFailures(status);
    const bool busy = failures && failures->by_rank.at(0).code() ==
                                      absl::StatusCode::kAborted;
    ::_exit(status.ok() ? 0 : busy ? 1 : 2);
  });
}

bool HoldsStateOf(const AnyPlace& place, int writer) {
  const OldAndNew states{.old_state = StateOf(place, writer)};
  const Found found = WhatIsIn(place, states);
  return found == Found::kOld;
}

/// Writers race; how many won.
int64_t Race(const SaveCall& call, const AnyPlace& place, int writers) {
  std::vector<pid_t> pids;
  for (int writer = 0; writer < writers; ++writer) {
    pids.push_back(StartWriter(call, place, writer));
  }
  std::vector<int> codes;
  for (const pid_t pid : pids) {
    int status = 0;
    REQUIRE(::waitpid(pid, &status, 0) == pid);
    codes.push_back(WIFEXITED(status) ? WEXITSTATUS(status) : -1);
  }
  int64_t winners = 0;
  bool holds_one = false;
  for (int writer = 0; writer < writers; ++writer) {
    const int code = codes[size_t(writer)];
    REQUIRE((code == 0 || code == 1));
    if (code != 0) continue;
    ++winners;
    holds_one = holds_one || HoldsStateOf(place, writer);
  }
  REQUIRE(holds_one);
  return winners;
}

void RaceOften(const SaveCall& call, FileFormat format, int64_t rounds) {
  const testing::TempDirectory directory;
  const AnyPlace place{.format = format,
                       .native = {.fs = MakePosixFileSystem(),
                                  .directory = directory.path() + "/ckpt"}};
  int64_t winners = 0;
  int64_t writes = 0;
  for (int64_t round = 0; round < rounds; ++round) {
    INFO("round " << round << call.name << " " << ToString(format));
    const auto writers = static_cast<int>(2 + round % 3);
    writes += writers;
    winners += Race(call, place, writers);
  }
  CHECK(winners >= rounds);
  const bool is_native = format == FileFormat::kNative;
  testing::Report(
      {.row = "R12",
       .trial = std::string("2 to 4 processes save into one "
                            "directory") +
                call.name + (is_native ? "" : ", " + ToString(format)),
       .count = rounds,
       .note = std::to_string(winners) + " of " + std::to_string(writes) +
               " saves won, the others got kAborted"});
}

constexpr SaveCall kSaveNow{"", 100, &SaveNow};
constexpr SaveCall kSaveInThread{", async saves", 40, &SaveInThread};
constexpr SaveCall kSaveBySaver{", async saves by savers", 20, &SaveBySaver};

TEST_CASE("of processes that race for a directory one wins whole",
          "[checkpoint][R12]") {
  for (const SaveCall& call : {kSaveNow, kSaveInThread, kSaveBySaver}) {
    RaceOften(call, FileFormat::kNative, testing::Trials(call.rounds, 1000));
  }
}

TEST_CASE("of processes that race to save safetensors one wins whole",
          "[checkpoint][R12]") {
  for (const FileFormat format :
       {FileFormat::kSafetensors, FileFormat::kSafetensorsInPlace,
        FileFormat::kSafetensorsOfRanks}) {
    for (const SaveCall& call : {kSaveNow, kSaveInThread}) {
      RaceOften(call, format, testing::Trials(5, 1000));
    }
  }
  // Savers never exchange directories.
  RaceOften(kSaveBySaver, FileFormat::kSafetensors, testing::Trials(3, 1000));
}

}  // namespace
}  // namespace dcp
