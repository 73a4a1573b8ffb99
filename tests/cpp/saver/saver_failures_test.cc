#include <catch2/catch.hpp>
#include <chrono>
#include <csignal>
#include <filesystem>
#include <fstream>
#include <memory>
#include <string>
#include <vector>

#include "checkpoint/rank_exchange.h"
#include "saver/saver_cases.h"
#include "testing/temp_directory.h"

namespace dcp {
namespace {

using Catch::Matchers::Contains;
using conformance::CheckHolds;
using conformance::SmallState;
using conformance::State;
using namespace std::chrono_literals;

/// Several blocks a rank: what follows the first is held back by a low rate.
State LargeState(uint64_t seed) {
  State state = SmallState(seed);
  state.tensors["large"] =
      conformance::RandomTensor(seed, DType::kFloat32, {4096, 512});
  return state;
}

/// Two ranks that have saved once, and save again slowly.
struct SlowSave {
  explicit SlowSave(Clock::Duration patience) : ranks(2, patience) {
    for (const auto& saved : ranks.Begin(old_entries, path)) {
      RequireSaved(saved->Wait());
    }
    handles = ranks.Begin(new_entries, path, true);
    SaverRanks::AwaitHandedOver(handles);
  }

  /// Both ranks name rank 1, and why; what was there stands, and the next save
  /// works.
  void CheckLost(const std::string& why) {
    for (const auto& handle : handles) {
      const auto failures = GetRankFailures(handle->Wait().status());
      REQUIRE(failures);
      REQUIRE(failures->by_rank.contains(1));
      const Status& failure = failures->by_rank.at(1);
      CHECK(failure.code() == absl::StatusCode::kUnavailable);
      CHECK_THAT(std::string(Message(failure)),
                 Contains("rank 1 is gone") && Contains(why));
    }
    CheckHolds(StorageIn(path), old_state);
    for (const auto& saved : ranks.Begin(new_entries, path)) {
      RequireSaved(saved->Wait());
    }
    CheckHolds(StorageIn(path), new_state);
  }

  const testing::TempDirectory directory;
  const std::string path = directory.path() + "/ckpt";
  State old_state = LargeState(1);
  State new_state = LargeState(2);
  AllEntries old_entries = Sharded(old_state, 2);
  AllEntries new_entries = Sharded(new_state, 2);
  SaverRanks ranks;
  SaverRanks::Handles handles;
};

TEST_CASE("a saver that is killed fails the save on all ranks, which name it",
          "[saver]") {
  SlowSave save(60s);
  ::kill(save.ranks.savers[1]->process_id().value(), SIGKILL);
  save.CheckLost("was killed by signal 9");
}

TEST_CASE("a saver that is stopped counts as lost", "[saver]") {
  SlowSave save(4s);
  ::kill(save.ranks.savers[1]->process_id().value(), SIGSTOP);
  save.CheckLost("no sign of life");
}

TEST_CASE("a save that a saver carries out can be cancelled", "[saver]") {
  SlowSave save(60s);
  for (const auto& handle : save.handles) handle->Cancel();
  for (const auto& handle : save.handles) {
    CHECK(handle->Wait().status().code() == absl::StatusCode::kCancelled);
  }
  CheckHolds(StorageIn(save.path), save.old_state);
}

TEST_CASE("a trainer that is killed before its order is not waited for",
          "[saver]") {
  const testing::TempDirectory directory;
  State state = SmallState(1);
  AllEntries entries = Sharded(state, 2);
  auto transports = MakeThreadTransports(2, kRankTimeoutSeconds);
  const auto save = AsyncSave(entries[0].entries(), nullptr,
                              {.writer = WriterTo(directory.path() + "/c"),
                               .transport = std::move(transports[0])},
                              {.staging = {.saver = MakeSaver(4s)}});
  // Rank 1 comes to the meeting, and no further.
  const std::string ready = "leaves its save to a saver";
  REQUIRE(ReduceScatter(*transports[1], "plan", ready, nullptr).ok());
  transports.clear();
  const auto failures = GetRankFailures(save->Wait().status());
  REQUIRE(failures);
  const Status& failure = failures->by_rank.at(1);
  CHECK(failure.code() == absl::StatusCode::kUnavailable);
  CHECK_THAT(std::string(Message(failure)), Contains("has not begun"));
}

Status SaveAlone(State& state, std::shared_ptr<StorageWriter> writer) {
  return AsyncSave(EntriesOf(state), nullptr,
                   {.writer = std::move(writer),
                    .transport = MakeSingleProcessTransport()},
                   {.staging = {.saver = MakeSaver()}})
      ->Wait()
      .status();
}

/// What rank 0 failed with.
Status FailureOf(const Status& status) {
  const auto failures = GetRankFailures(status);
  REQUIRE(failures);
  return failures->by_rank.at(0);
}

TEST_CASE("a saver's errors arrive as they were", "[saver]") {
  const testing::TempDirectory directory;
  State state = SmallState(1);
  const std::string path = directory.path() + "/ckpt";
  DCP_CHECK_OK(SaveAlone(state, WriterTo(path)));
  FileSystemWriterOptions options{.path = path, .overwrite = false};
  const Status refused = SaveAlone(state, MakeFileSystemWriter(options));
  CHECK(FailureOf(refused).code() == absl::StatusCode::kFailedPrecondition);
  const std::string file = directory.path() + "/file";
  std::ofstream(file) << "x";
  const Status no_directory = SaveAlone(state, WriterTo(file));
  CHECK(GetErrorDetail(FailureOf(no_directory))->path == file);
}

TEST_CASE("what a saver cannot do is refused", "[saver]") {
  State state = SmallState(1);
  const Status no_files = SaveAlone(
      state,
      NativeStorage(NativePlace{.fs = MakeMemoryFileSystem()}).make_writer());
  CHECK(FailureOf(no_files).code() == absl::StatusCode::kUnimplemented);
  CHECK(Saver::Make({.program = "dcpcpp_saver"}).status().code() ==
        absl::StatusCode::kInvalidArgument);
  const auto missing = Saver::Make({.program = "/there/is/none"});
  CHECK((*missing)->Start().code() == absl::StatusCode::kNotFound);
}

TEST_CASE("ranks in threads and ranks with savers do not mix", "[saver]") {
  const testing::TempDirectory directory;
  State state = SmallState(1);
  AllEntries entries = Sharded(state, 2);
  auto transports = MakeThreadTransports(2, kRankTimeoutSeconds);
  std::vector<std::unique_ptr<AsyncSaveHandle>> handles;
  for (size_t rank = 0; rank < 2; ++rank) {
    StagingOptions staging;
    if (rank == 0) staging.saver = MakeSaver();
    handles.push_back(AsyncSave(entries[rank].entries(), nullptr,
                                {.writer = WriterTo(directory.path() + "/c"),
                                 .transport = std::move(transports[rank])},
                                {.staging = staging}));
  }
  for (const auto& handle : handles) {
    CHECK_THAT(std::string(Message(handle->Wait().status())),
               Contains("rank 1 saves in threads"));
  }
}

}  // namespace
}  // namespace dcp
