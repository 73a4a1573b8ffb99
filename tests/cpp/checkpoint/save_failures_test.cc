// One rank fails: all ranks say so, and the checkpoint that was there stays.

#include <algorithm>
#include <catch2/catch.hpp>
#include <memory>
#include <string>
#include <vector>

#include "checkpoint/broken_writer.h"
#include "checkpoint/rank_threads.h"
#include "storage/damage.h"

namespace dcp {
namespace {

using Catch::Matchers::Contains;
using conformance::CheckHolds;
using conformance::SmallState;
using conformance::State;
using conformance::StorageUnderTest;

constexpr int kRanks = 3;

/// An old checkpoint of three ranks, and what is in its directory.
struct OldCheckpoint {
  OldCheckpoint() {
    RequireAllSucceed(SaveOnRanks(Sharded(state, kRanks), storage));
    files = FilesOf(*fs, "");
  }
  void CheckUntouched() const {
    CheckHolds(storage, state);
    CHECK(FilesOf(*fs, "") == files);
  }

  State state = SmallState(1);
  std::shared_ptr<FileSystem> fs = MakeMemoryFileSystem();
  StorageUnderTest storage = NativeStorage(NativePlace{.fs = fs});
  std::vector<std::string> files;
};

TEST_CASE("a step that fails on one rank fails the save on all",
          "[checkpoint]") {
  const OldCheckpoint old;
  for (SaveStep step : {SaveStep::kSetUp, SaveStep::kPrepareLocalPlan,
                        SaveStep::kPrepareGlobalPlan, SaveStep::kWriteData,
                        SaveStep::kFinish}) {
    const bool coordinators =
        step == SaveStep::kPrepareGlobalPlan || step == SaveStep::kFinish;
    for (int failing = 0; failing < (coordinators ? 1 : kRanks); ++failing) {
      INFO("step " << int(step) << " of rank " << failing);
      const auto results =
          SaveOnRanks(Sharded(SmallState(2), kRanks), [&](int rank) {
            return std::make_unique<BrokenWriter>(
                old.storage.make_writer(),
                rank == failing ? step : SaveStep::kNone);
          });
      const RankFailures failures = RequireSameFailures(results);
      const bool in_plan = step < SaveStep::kWriteData;
      CHECK(failures.phase == (in_plan ? "plan" : "write"));
      REQUIRE(failures.by_rank.size() == 1);
      CHECK(failures.by_rank.begin()->first == failing);
      CHECK_THAT(std::string(Message(failures.by_rank.begin()->second)),
                 Contains("broken in step"));
      CHECK(results[0].status().code() == absl::StatusCode::kUnimplemented);
      old.CheckUntouched();
    }
  }
}

TEST_CASE("a storage without notes for every rank fails the save",
          "[checkpoint]") {
  const OldCheckpoint old;
  const auto results = SaveOnRanks(Sharded(SmallState(2), kRanks), [&](int) {
    auto writer = std::make_unique<BrokenWriter>(old.storage.make_writer(),
                                                 SaveStep::kNone);
    writer->forge_notes = [](auto& notes) { notes.pop_back(); };
    return writer;
  });
  CHECK_THAT(std::string(Message(results[1].status())),
             Contains("notes for 2 of 3 ranks"));
  old.CheckUntouched();
}

/// Brings this rank less than it was sent.
class CuttingTransport final : public Transport {
 public:
  explicit CuttingTransport(Transport& base) : base_(base) {}
  int rank() const override { return base_.rank(); }
  int world_size() const override { return base_.world_size(); }
  StatusOr<std::vector<std::string>> Gather(std::string_view message) override {
    return base_.Gather(message);
  }
  StatusOr<std::string> Scatter(std::span<const std::string> all) override {
    DCP_ASSIGN_OR_RETURN(std::string message, base_.Scatter(all));
    message.resize(message.size() - std::min<size_t>(message.size(), 2));
    return message;
  }
  StatusOr<std::string> Broadcast(std::string_view message) override {
    return base_.Broadcast(message);
  }
  Status AwaitAll(std::string_view phase) override {
    return base_.AwaitAll(phase);
  }

 private:
  Transport& base_;
};

TEST_CASE("a rank that cannot read its answer fails the save on all",
          "[checkpoint]") {
  const OldCheckpoint old;
  const AllEntries entries = Sharded(SmallState(2), kRanks);
  const auto transports = MakeThreadTransports(kRanks, kRankTimeoutSeconds);
  const auto results = OnRanks<StatusOr<SaveResult>>(kRanks, [&](size_t rank) {
    const auto writer = old.storage.make_writer();
    CuttingTransport cutting(*transports[rank]);
    Transport& transport =
        rank == 1 ? static_cast<Transport&>(cutting) : *transports[rank];
    return Save(entries[rank].span(), *writer, transport, {});
  });
  const RankFailures failures = RequireSameFailures(results);
  REQUIRE(failures.by_rank.size() == 1);
  CHECK(failures.by_rank.at(1).code() == absl::StatusCode::kDataLoss);
  old.CheckUntouched();
}

TEST_CASE("several ranks that fail are all named", "[checkpoint]") {
  const OldCheckpoint old;
  const auto results =
      SaveOnRanks(Sharded(SmallState(2), kRanks), [&](int rank) {
        return std::make_unique<BrokenWriter>(
            old.storage.make_writer(),
            rank > 0 ? SaveStep::kWriteData : SaveStep::kNone);
      });
  const RankFailures failures = RequireSameFailures(results);
  CHECK(failures.by_rank.size() == 2);
  CHECK(failures.by_rank.count(0) == 0);
  old.CheckUntouched();
}

TEST_CASE("a rank that could not make its entries fails the save on all",
          "[checkpoint]") {
  const OldCheckpoint old;
  const AllEntries entries = Sharded(SmallState(2), kRanks);
  const auto transports = MakeThreadTransports(kRanks, kRankTimeoutSeconds);
  const auto results = OnRanks<StatusOr<SaveResult>>(kRanks, [&](size_t rank) {
    const auto writer = old.storage.make_writer();
    StatusOr<std::span<const SaveEntry>> mine = entries[rank].span();
    if (rank == 1) mine = InvalidArgument("no tensors today");
    return Save(mine, *writer, *transports[rank], {});
  });
  const RankFailures failures = RequireSameFailures(results);
  REQUIRE(failures.by_rank.count(1) == 1);
  CHECK(failures.by_rank.at(1).code() == absl::StatusCode::kInvalidArgument);
  CHECK_THAT(std::string(Message(failures.by_rank.at(1))),
             Contains("no tensors today"));
  old.CheckUntouched();
}

/// What is saved by rank 1 in place of its part of "weight", which is [64, 32].
void CheckPlanRefused(const Box& box, const std::string& reason) {
  const OldCheckpoint old;
  const State state = SmallState(2);
  AllEntries entries = Sharded(state, 2);
  std::erase_if(entries[1].entries(),
                [](const SaveEntry& e) { return e.fqn == "weight"; });
  conformance::StateTensor larger =
      conformance::RandomTensor(9, DType::kFloat32, {200, 200});
  entries[1].AddShard("weight", larger, box);
  std::get<TensorShard>(entries[1].entries().back().value).global_size = {64,
                                                                          32};
  const auto results = SaveOnRanks(entries, old.storage);
  INFO(ToString(box));
  const RankFailures failures = RequireSameFailures(results);
  CHECK(failures.phase == "plan");
  CHECK_THAT(std::string(Message(results[0].status())), Contains("weight"));
  CHECK_THAT(std::string(Message(results[0].status())), Contains(reason));
  CHECK(results[0].status().code() == absl::StatusCode::kInvalidArgument);
  old.CheckUntouched();
}

TEST_CASE("chunks that overlap, leave gaps or stick out are refused",
          "[checkpoint]") {
  CheckPlanRefused({.offsets = {31, 0}, .sizes = {33, 32}}, "overlap");
  CheckPlanRefused({.offsets = {33, 0}, .sizes = {31, 32}}, "gaps");
  CheckPlanRefused({.offsets = {32, 0}, .sizes = {33, 32}}, "global shape");
  CheckPlanRefused({.offsets = {32, 1}, .sizes = {32, 32}}, "global shape");
}

TEST_CASE("a key that is given twice is refused", "[checkpoint]") {
  const OldCheckpoint old;
  const State state = SmallState(2);
  AllEntries entries = Sharded(state, 2);
  entries[1].AddObject("again", "x");
  entries[1].AddObject("again", "y");
  const auto results = SaveOnRanks(entries, old.storage);
  RequireSameFailures(results);
  CHECK_THAT(std::string(Message(results[1].status())), Contains("again"));
  old.CheckUntouched();
}

/// A storage on rank 1 that forges its results.
void CheckForgeryFound(const std::function<void(WriteOutcome&)>& forge,
                       const std::string& named) {
  const OldCheckpoint old;
  const auto results =
      SaveOnRanks(Sharded(SmallState(2), kRanks),
                  [&](int rank) -> std::unique_ptr<StorageWriter> {
                    auto writer = std::make_unique<BrokenWriter>(
                        old.storage.make_writer(), SaveStep::kNone);
                    if (rank == 1) writer->forge = forge;
                    return writer;
                  });
  const RankFailures failures = RequireSameFailures(results);
  CHECK(results[0].status().code() == absl::StatusCode::kInternal);
  CHECK_THAT(std::string(Message(results[2].status())), Contains(named));
  CHECK_THAT(std::string(Message(results[2].status())), Contains("rank 1"));
  old.CheckUntouched();
}

TEST_CASE("only results that are the plan, each exactly once, are published",
          "[checkpoint]") {
  CheckForgeryFound([](WriteOutcome& o) { o.results.pop_back(); },
                    "did not report 1");
  CheckForgeryFound([](WriteOutcome& o) { o.results.clear(); },
                    "did not report 2");
  CheckForgeryFound(
      [](WriteOutcome& o) { o.results.push_back(o.results.front()); },
      "reported before");
  CheckForgeryFound(
      [](WriteOutcome& o) { o.results.front().index.fqn = "stranger"; },
      "stranger");
  CheckForgeryFound(
      [](WriteOutcome& o) { o.results.front().index.offset = Dims{1, 1}; },
      "not planned");
}

TEST_CASE("a rank that is gone is named by those that are left",
          "[checkpoint]") {
  const OldCheckpoint old;
  const AllEntries entries = Sharded(SmallState(2), kRanks);
  for (size_t gone = 0; gone < kRanks; ++gone) {
    auto transports = MakeThreadTransports(kRanks, kRankTimeoutSeconds);
    const auto results =
        OnRanks<StatusOr<SaveResult>>(kRanks, [&](size_t rank) {
          if (rank == gone) {
            transports[rank].reset();
            return StatusOr<SaveResult>(Internal("left"));
          }
          const auto writer = old.storage.make_writer();
          return Save(entries[rank].span(), *writer, *transports[rank], {});
        });
    for (size_t rank = 0; rank < kRanks; ++rank) {
      if (rank == gone) continue;
      CHECK(results[rank].status().code() == absl::StatusCode::kAborted);
      CHECK_THAT(std::string(Message(results[rank].status())),
                 Contains(std::to_string(gone)));
    }
    old.CheckUntouched();
  }
}

}  // namespace
}  // namespace dcp
