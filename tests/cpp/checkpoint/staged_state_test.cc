// What a staged state is to its process and to other ranks.

#include <sys/wait.h>
#include <unistd.h>

#include <catch2/catch.hpp>
#include <memory>
#include <string>
#include <thread>
#include <vector>

#include "checkpoint/staged_saves.h"
#include "testing/fault_injection_file_system.h"
#include "testing/gate.h"

namespace dcp {
namespace {

using conformance::CheckHolds;
using conformance::RandomTensor;
using conformance::SmallState;
using conformance::State;
using testing::Gate;

TEST_CASE("a state is saved once", "[checkpoint][staging]") {
  Stage stage;
  State state = SmallState(1);
  const auto staged = stage.Begin(EntriesOf(state));
  const auto storage = NativeStorage(PlaceOn(MakeMemoryFileSystem()));
  RequireSaved(SaveStaged(staged, storage));
  const auto again = SaveStaged(staged, storage);
  CHECK_THAT(std::string(Message(again.status())),
             Catch::Contains("saved once"));
  CheckHolds(storage, state);
}

TEST_CASE("several ranks stage, and store what a plain save stores",
          "[checkpoint][staging]") {
  constexpr size_t kRanks = 3;
  for (const bool sharded : {true, false}) {
    const State state = SmallState(4);
    AllEntries all =
        sharded ? Sharded(state, kRanks) : Replicated(state, kRanks);
    const auto storage = NativeStorage(PlaceOn(MakeMemoryFileSystem()));
    Stage stage;
    std::vector<std::shared_ptr<StagedState>> staged;
    for (size_t rank = 0; rank < kRanks; ++rank) {
      staged.push_back(stage.Begin(all[rank].entries(),
                                   {.max_nbytes = rank == 1 ? 100 : kMiB}));
    }
    const auto transports = MakeThreadTransports(kRanks, kRankTimeoutSeconds);
    const auto results =
        OnRanks<StatusOr<SaveResult>>(kRanks, [&](size_t rank) {
          return Save(staged[rank], *storage.make_writer(), *transports[rank],
                      {.split_nbytes = 64});
        });
    RequireAllSucceed(results);
    CheckHolds(storage, state);
    for (const auto& rank : staged) DCP_CHECK_OK(rank->WaitStaged());
  }
}

TEST_CASE("ranks that save each for themselves can stage as well",
          "[checkpoint][staging]") {
  Stage stage;
  State state = SmallState(1);
  const auto fs = MakeMemoryFileSystem();
  RequireSaved(SaveStaged(stage.Begin(EntriesOf(state)),
                          NativeStorage(PlaceOn(fs)),
                          {.use_collectives = false}));
  CHECK(fs->Exists("/ckpt/__0.metadata").value());
}

TEST_CASE("a forked child can drop a state, and nothing else",
          "[checkpoint][staging]") {
  Stage stage;
  Gate gate;
  stage.pages.on_map = [&] { gate.Pass(); };
  State state = SmallState(1);
  for (const bool while_staging : {true, false}) {
    auto staged = stage.Begin(EntriesOf(state));
    if (while_staging) {
      gate.AwaitWaiting(1);
    } else {
      DCP_CHECK_OK(staged->WaitStaged());
    }
    const pid_t child = ::fork();
    if (child == 0) {
      const auto storage = NativeStorage(PlaceOn(MakeMemoryFileSystem()));
      const bool right = staged->WaitStaged().code() ==
                             absl::StatusCode::kFailedPrecondition &&
                         !SaveStaged(staged, storage).ok();
      staged.reset();
      ::_exit(right ? 0 : 1);
    }
    int status = 0;
    REQUIRE(::waitpid(child, &status, 0) == child);
    CHECK(WIFEXITED(status));
    CHECK(WEXITSTATUS(status) == 0);
    gate.Open();
    const auto storage = NativeStorage(PlaceOn(MakeMemoryFileSystem()));
    RequireSaved(SaveStaged(staged, storage));
    CheckHolds(storage, state);
  }
}

TEST_CASE("memory for states is the process's, and can be released",
          "[checkpoint][staging]") {
  ReleaseStagingMemory();
  CHECK(StagingMemoryNbytes() == 0);
  DCP_CHECK_OK(PrewarmStaging(3 * kMiB, {}));
  const int64_t prewarmed = StagingMemoryNbytes();
  CHECK(prewarmed >= 3 * kMiB);
  State state;
  state.tensors["w"] = RandomTensor(1, DType::kUInt8, {3 * kMiB});
  {
    const auto staged = StagedState::Begin(EntriesOf(state), nullptr, {});
    REQUIRE(staged.ok());
    DCP_CHECK_OK((*staged)->WaitStaged());
    CHECK((*staged)->nbytes_staged() == 3 * kMiB);
    CHECK((*staged)->is_staged());
    CHECK(StagingMemoryNbytes() == prewarmed);
  }
  ReleaseStagingMemory();
  CHECK(StagingMemoryNbytes() == 0);
}

}  // namespace
}  // namespace dcp
