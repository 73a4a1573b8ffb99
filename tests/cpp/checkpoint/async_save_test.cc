#include "dcp/async_save.h"

#include <sys/wait.h>
#include <unistd.h>

#include <catch2/catch.hpp>
#include <memory>
#include <string>
#include <vector>

#include "checkpoint/staged_saves.h"
#include "testing/fault_injection_file_system.h"
#include "testing/gate.h"
#include "testing/temp_directory.h"

namespace dcp {
namespace {

using Catch::Matchers::Contains;
using conformance::CheckHolds;
using conformance::SmallState;
using conformance::State;
using testing::FaultInjectionFileSystem;
using testing::FsOp;
using testing::Gate;

std::shared_ptr<Transport> OneProcess() { return MakeSingleProcessTransport(); }

TEST_CASE("an asynchronous save can be waited for, and asked how far it is",
          "[checkpoint][staging]") {
  const testing::TempDirectory directory;
  State state = SmallState(1);
  const State before = state;
  const std::string path = directory.path() + "/ckpt";
  const auto save = AsyncSave(path, EntriesOf(state));
  DCP_CHECK_OK(save->WaitStaged());
  CHECK(save->progress().is_staged);
  for (auto& [fqn, tensor] : state.tensors) {
    tensor.bytes.assign(tensor.bytes.size(), '!');
  }
  RequireSaved(save->Wait());
  RequireSaved(save->Wait());
  const AsyncSaveProgress progress = save->progress();
  CHECK(progress.is_done);
  CHECK(progress.nbytes > 0);
  CHECK(progress.nbytes_staged + progress.nbytes_streamed == progress.nbytes);
  CheckHolds(NativeStorage(
                 NativePlace{.fs = MakePosixFileSystem(), .directory = path}),
             before);
}

TEST_CASE("destroying the handle waits for the save", "[checkpoint][staging]") {
  State state = SmallState(1);
  const auto storage = NativeStorage(NativePlace{.fs = MakeMemoryFileSystem()});
  (void)AsyncSave(EntriesOf(state), nullptr,
                  {.writer = storage.make_writer(), .transport = OneProcess()});
  CheckHolds(storage, state);
}

TEST_CASE("an error of a rank's entries reaches the others' handles",
          "[checkpoint][staging]") {
  State state = SmallState(1);
  const auto storage = NativeStorage(NativePlace{.fs = MakeMemoryFileSystem()});
  auto transports = MakeThreadTransports(2, kRankTimeoutSeconds);
  const auto good = AsyncSave(
      EntriesOf(state), nullptr,
      {.writer = storage.make_writer(), .transport = std::move(transports[0])});
  const auto bad = AsyncSave(
      InvalidArgument("no entries"), nullptr,
      {.writer = storage.make_writer(), .transport = std::move(transports[1])});
  CHECK_THAT(std::string(Message(good->Wait().status())),
             Contains("no entries"));
  CHECK(bad->WaitStaged().code() == absl::StatusCode::kInvalidArgument);
  DCP_CHECK_OK(good->WaitStaged());
  CHECK(bad->progress().is_staged);
}

/// A save of two ranks whose data is held back in the middle.
struct HeldSave {
  explicit HeldSave(FsOp held_at) {
    RequireAllSucceed(SaveOnRanks(Sharded(old_state, 2),
                                  NativeStorage(NativePlace{.fs = memory})));
    old_files = FilesOf(*memory, "");
    const auto fs = std::make_shared<FaultInjectionFileSystem>(
        memory, testing::FaultScript{
                    .on_call = [this, held_at](int64_t, FsOp op,
                                               const std::string& path) {
                      const bool is_data = path.ends_with(".distcp");
                      if (op == held_at && is_data) gate.Pass();
                    }});
    auto transports = MakeThreadTransports(2, kRankTimeoutSeconds);
    const auto storage = NativeStorage(NativePlace{.fs = fs});
    for (size_t rank = 0; rank < 2; ++rank) {
      saves.push_back(AsyncSave(entries[rank].entries(), nullptr,
                                {.writer = storage.make_writer(),
                                 .transport = std::move(transports[rank])}));
    }
  }

  State old_state = SmallState(1);
  State new_state = SmallState(2);
  AllEntries entries = Sharded(new_state, 2);
  std::shared_ptr<FileSystem> memory = MakeMemoryFileSystem();
  std::vector<std::string> old_files;
  Gate gate;
  std::vector<std::unique_ptr<AsyncSaveHandle>> saves;
};

TEST_CASE(
    "a save that is cancelled on one rank ends on all, and leaves the old",
    "[checkpoint][staging]") {
  for (const FsOp held_at : {FsOp::kWrite, FsOp::kSync}) {
    HeldSave held(held_at);
    held.gate.AwaitWaiting(2);
    CHECK(held.saves[0]->Wait(Clock::Duration(0)).status().code() ==
          absl::StatusCode::kDeadlineExceeded);
    CHECK_FALSE(held.saves[0]->progress().is_done);
    held.saves[1]->Cancel();
    held.gate.Open();
    for (const auto& save : held.saves) {
      const Status ended = save->Wait().status();
      CHECK(ended.code() == absl::StatusCode::kCancelled);
      CHECK_THAT(std::string(Message(ended)), Contains("cancelled"));
      DCP_CHECK_OK(save->WaitStaged());
    }
    CheckHolds(NativeStorage(NativePlace{.fs = held.memory}), held.old_state);
    CHECK(FilesOf(*held.memory, "") == held.old_files);
  }
}

TEST_CASE("cancelling a save that is done changes nothing",
          "[checkpoint][staging]") {
  HeldSave held(FsOp::kLock);
  for (const auto& save : held.saves) RequireSaved(save->Wait());
  for (const auto& save : held.saves) save->Cancel();
  for (const auto& save : held.saves) RequireSaved(save->Wait());
  CheckHolds(NativeStorage(NativePlace{.fs = held.memory}), held.new_state);
}

TEST_CASE("a forked child can destroy a save, and does not wait for it",
          "[checkpoint][staging]") {
  HeldSave held(FsOp::kWrite);
  held.gate.AwaitWaiting(2);
  const pid_t child = ::fork();
  if (child == 0) {
    ::alarm(20);  // ends a child that hangs
    AsyncSaveHandle& save = *held.saves[0];
    const bool right =
        save.Wait().status().code() == absl::StatusCode::kFailedPrecondition &&
        save.WaitStaged().code() == absl::StatusCode::kFailedPrecondition &&
        !save.progress().is_done;
    save.Cancel();
    held.saves.clear();
    ::_exit(right ? 0 : 1);
  }
  int status = 0;
  REQUIRE(::waitpid(child, &status, 0) == child);
  CHECK(WIFEXITED(status));
  CHECK(WEXITSTATUS(status) == 0);
  held.gate.Open();
  for (const auto& save : held.saves) RequireSaved(save->Wait());
  CheckHolds(NativeStorage(NativePlace{.fs = held.memory}), held.new_state);
}

}  // namespace
}  // namespace dcp
