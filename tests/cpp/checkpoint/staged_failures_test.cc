// Staging that fails, and states that are given up.

#include <catch2/catch.hpp>
#include <memory>
#include <string>
#include <thread>
#include <vector>

#include "checkpoint/staged_saves.h"
#include "testing/gate.h"

namespace dcp {
namespace {

using Catch::Matchers::Contains;
using conformance::CheckHolds;
using conformance::SmallState;
using conformance::State;
using conformance::StorageUnderTest;
using testing::FakeDevice;
using testing::Gate;

constexpr size_t kRanks = 3;

/// An old checkpoint, and ranks that are about to replace it.
struct Replacement {
  Replacement() {
    RequireAllSucceed(SaveOnRanks(Sharded(old_state, kRanks), storage));
    old_files = FilesOf(*fs, "");
  }
  void CheckOldStands() const {
    CheckHolds(storage, old_state);
    CHECK(FilesOf(*fs, "") == old_files);
  }
  std::vector<StatusOr<SaveResult>> Save(
      const std::vector<StatusOr<std::shared_ptr<StagedState>>>& staged) const {
    const auto transports = MakeThreadTransports(kRanks, kRankTimeoutSeconds);
    return OnRanks<StatusOr<SaveResult>>(kRanks, [&](size_t rank) {
      return dcp::Save(staged[rank], *storage.make_writer(), *transports[rank],
                       {});
    });
  }

  State old_state = SmallState(1);
  State new_state = SmallState(2);
  AllEntries entries = Sharded(new_state, kRanks);
  std::shared_ptr<FileSystem> fs = MakeMemoryFileSystem();
  StorageUnderTest storage = NativeStorage(NativePlace{.fs = fs});
  std::vector<std::string> old_files;
};

TEST_CASE("a copy that fails on one rank fails the save on all",
          "[checkpoint][staging]") {
  const Replacement test;
  Stage good;
  Stage bad;
  bad.device->FailFrom(1);
  std::string memory(4000, 'x');
  std::vector<StatusOr<std::shared_ptr<StagedState>>> staged;
  for (size_t rank = 0; rank < kRanks; ++rank) {
    std::vector<SaveEntry> entries(test.entries[rank].span().begin(),
                                   test.entries[rank].span().end());
    if (rank == 1) {
      entries.push_back(
          TensorEntry("device", FakeDevice::OnDevice(ContiguousView(
                                    memory.data(), DType::kUInt8, {4000}))));
    }
    staged.emplace_back((rank == 1 ? bad : good).Begin(std::move(entries)));
  }
  const RankFailures failures = RequireSameFailures(test.Save(staged));
  REQUIRE(failures.by_rank.size() == 1);
  CHECK_THAT(std::string(Message(failures.by_rank.at(1))),
             Contains("the device fell off"));
  CHECK_THAT(std::string(Message((*staged[1])->WaitStaged())),
             Contains("the device fell off"));
  DCP_CHECK_OK((*staged[0])->WaitStaged());
  test.CheckOldStands();
}

TEST_CASE("a rank without a state fails the save on all",
          "[checkpoint][staging]") {
  const Replacement test;
  Stage stage;
  std::vector<StatusOr<std::shared_ptr<StagedState>>> staged;
  for (size_t rank = 0; rank < kRanks; ++rank) {
    const auto span = test.entries[rank].span();
    staged.emplace_back(stage.Begin({span.begin(), span.end()}));
  }
  staged[2] = InvalidArgument("no such tensor");
  const RankFailures failures = RequireSameFailures(test.Save(staged));
  CHECK_THAT(std::string(Message(failures.by_rank.at(2))),
             Contains("no such tensor"));
  test.CheckOldStands();
}

TEST_CASE("a view that planning refuses is refused when it is staged",
          "[checkpoint][staging]") {
  Stage stage;
  std::vector<SaveEntry> entries = {
      TensorEntry("w", ContiguousView(nullptr, DType::kFloat32, {3}))};
  const auto storage = NativeStorage(NativePlace{.fs = MakeMemoryFileSystem()});
  const auto saved = SaveStaged(stage.Begin(std::move(entries)), storage);
  CHECK_THAT(std::string(Message(saved.status())),
             Contains("w of shape [3] has no memory"));
}

TEST_CASE("a state for which there is no memory is streamed",
          "[checkpoint][staging]") {
  Stage stage;
  stage.pages.max_map = 1;
  State state = SmallState(1);
  const auto staged = stage.Begin(EntriesOf(state));
  const auto storage = NativeStorage(NativePlace{.fs = MakeMemoryFileSystem()});
  RequireSaved(SaveStaged(staged, storage));
  CheckHolds(storage, state);
  CHECK(staged->nbytes_streamed() == staged->nbytes());
  CHECK(staged->nbytes_staged() == 0);
}

TEST_CASE("a state that is dropped while it is staged lets go of everything",
          "[checkpoint][staging]") {
  Stage stage;
  Gate gate;
  stage.device->on_copy = [&] { gate.Pass(); };
  std::string memory(64 * kMiB, 'x');
  const auto owner = std::make_shared<int>(0);
  auto staged = stage.Begin(
      {TensorEntry("w", FakeDevice::OnDevice(ContiguousView(
                            memory.data(), DType::kUInt8, {64 * kMiB})))},
      {}, owner);
  gate.AwaitWaiting(1);
  std::thread dropping([&] { staged.reset(); });
  gate.Open();
  dropping.join();
  // The rest is not copied any more.
  CHECK(stage.device->copies() < 16);
  CHECK(owner.use_count() == 1);
  CHECK(stage.arena.leased_nbytes() == 0);
}

TEST_CASE("a cancelled state frees its tensors and cannot be saved",
          "[checkpoint][staging]") {
  const Replacement test;
  Stage stage;
  std::vector<StatusOr<std::shared_ptr<StagedState>>> staged;
  for (size_t rank = 0; rank < kRanks; ++rank) {
    const auto span = test.entries[rank].span();
    staged.emplace_back(
        stage.Begin({span.begin(), span.end()}, {.max_nbytes = 0}));
  }
  CHECK_FALSE((*staged[1])->is_staged());
  (*staged[1])->Cancel();
  DCP_CHECK_OK((*staged[1])->WaitStaged());
  const RankFailures failures = RequireSameFailures(test.Save(staged));
  CHECK_THAT(std::string(Message(failures.by_rank.at(1))),
             Contains("cancelled"));
  for (const auto& state : staged) DCP_CHECK_OK((*state)->WaitStaged());
  test.CheckOldStands();
}

}  // namespace
}  // namespace dcp
