// Saves into a directory, and by a writer, that held a checkpoint before.

#include <catch2/catch.hpp>
#include <memory>
#include <string>
#include <vector>

#include "checkpoint/rank_threads.h"
#include "storage/damage.h"

namespace dcp {
namespace {

using conformance::CheckHolds;
using conformance::SmallState;
using conformance::State;
using conformance::StorageUnderTest;

TEST_CASE("files of the new checkpoint stay, even under names of the old one",
          "[checkpoint]") {
  auto fs = MakeMemoryFileSystem();
  const StorageUnderTest storage = NativeStorage(NativePlace{.fs = fs});
  RequireAllSucceed(SaveOnRanks(Sharded(SmallState(1), 3), storage));
  // Somebody tidied up, and left the metadata: the names are free again.
  for (const std::string& file : FilesOf(*fs, "__")) {
    DCP_CHECK_OK(fs->Remove(file));
  }
  const State state = SmallState(2);
  RequireAllSucceed(SaveOnRanks(Sharded(state, 3), storage));
  CheckHolds(storage, state);
  CHECK(FilesOf(*fs, "__").size() == 3);
  CHECK(FilesOf(*fs, ".dcpcpp-").size() == 1);
}

TEST_CASE("a save that fails before it began leaves the writer's last one",
          "[checkpoint]") {
  constexpr size_t kRanks = 3;
  auto fs = MakeMemoryFileSystem();
  const StorageUnderTest storage = NativeStorage(NativePlace{.fs = fs});
  std::vector<std::unique_ptr<StorageWriter>> writers;
  for (size_t i = 0; i < kRanks; ++i) writers.push_back(storage.make_writer());
  const State state = SmallState(1);
  const AllEntries entries = Sharded(state, kRanks);
  const auto save = [&](size_t failing) {
    const auto transports = MakeThreadTransports(kRanks, kRankTimeoutSeconds);
    return OnRanks<StatusOr<SaveResult>>(kRanks, [&](size_t rank) {
      using Entries = StatusOr<std::span<const SaveEntry>>;
      return Save(rank == failing ? Entries(Internal("no state"))
                                  : Entries(entries[rank].span()),
                  *writers[rank], *transports[rank], {});
    });
  };
  for (size_t failing = 0; failing < kRanks; ++failing) {
    INFO("rank " << failing);
    RequireAllSucceed(save(kRanks));
    const std::vector<std::string> files = FilesOf(*fs, "");
    RequireSameFailures(save(failing));
    CheckHolds(storage, state);
    CHECK(FilesOf(*fs, "") == files);
  }
}

}  // namespace
}  // namespace dcp
