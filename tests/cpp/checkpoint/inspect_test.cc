#include <catch2/catch.hpp>
#include <functional>
#include <memory>
#include <optional>
#include <string>
#include <utility>
#include <vector>

#include "checkpoint/rank_threads.h"
#include "dcp/checkpoint.h"
#include "storage/damage.h"
#include "testing/temp_directory.h"

namespace dcp {
namespace {

using conformance::SmallState;
using conformance::State;

std::unique_ptr<Checkpoint> Opened(const State& state) {
  auto fs = Saved(state, {});
  auto checkpoint = Checkpoint::Open(
      NativeStorage(NativePlace{.fs = std::move(fs)}).make_reader());
  INFO(Message(checkpoint.status()));
  REQUIRE(checkpoint.ok());
  return *std::move(checkpoint);
}

TEST_CASE("parts of tensors and objects are read by name", "[checkpoint]") {
  const State state = SmallState(1);
  const auto checkpoint = Opened(state);
  CHECK(checkpoint->metadata().entries().size() == 3);
  const Box box{.offsets = {30, 3}, .sizes = {5, 20}};
  std::string part(5 * 20 * 4, '?');
  DCP_CHECK_OK(checkpoint->ReadTensor(
      "weight", box, ContiguousView(part.data(), DType::kFloat32, box.sizes)));
  CHECK((part == conformance::BytesOf(state.tensors.at("weight"), box)));
  const auto step = checkpoint->ReadObject("step");
  REQUIRE(step.ok());
  CHECK(DecodeObject(*step).value().value.index() ==
        ObjectValue{ObjectDict{}}.value.index());
}

TEST_CASE("what ranks saved for themselves opens by rank", "[checkpoint]") {
  const State state = SmallState(1);
  const NativePlace place{.fs = MakeMemoryFileSystem()};
  RequireAllSucceed(SaveOnRanks(Sharded(state, 2), NativeStorage(place),
                                {.use_collectives = false}));
  const auto opened = [&](std::optional<int> rank) {
    return Checkpoint::Open(NativeStorage(place).make_reader(), {.rank = rank});
  };
  const auto last = opened(1);
  REQUIRE(last.ok());
  const Box box{.offsets = {63, 0}, .sizes = {1, 4}};
  std::string part(16, '?');
  DCP_CHECK_OK((*last)->ReadTensor(
      "weight", box, ContiguousView(part.data(), DType::kFloat32, box.sizes)));
  CHECK((part == conformance::BytesOf(state.tensors.at("weight"), box)));
  for (const auto rank : {std::optional<int>(), std::optional<int>(2)}) {
    const Status missing = opened(rank).status();
    CHECK(missing.code() == absl::StatusCode::kNotFound);
    CHECK_THAT(std::string(Message(missing)),
               Catch::Contains("there is metadata of ranks 0, 1"));
  }
}

TEST_CASE("a wrong name, kind or shape is an error", "[checkpoint]") {
  const auto checkpoint = Opened(SmallState(1));
  std::string memory(4096, '?');
  const TensorView view =
      ContiguousView(memory.data(), DType::kFloat32, {2, 2});
  const Box box{.offsets = {0, 0}, .sizes = {2, 2}};
  for (const char* fqn : {"absent", "step"}) {
    CHECK(checkpoint->ReadTensor(fqn, box, view).code() ==
          absl::StatusCode::kNotFound);
  }
  for (const char* fqn : {"absent", "weight"}) {
    CHECK(checkpoint->ReadObject(fqn).status().code() ==
          absl::StatusCode::kNotFound);
  }
  for (const Box& bad : {Box{{0, 0}, {2, 3}}, Box{{63, 0}, {2, 2}},
                         Box{{0}, {2}}, Box{{-1, 0}, {2, 2}}}) {
    INFO(ToString(bad));
    CHECK(checkpoint->ReadTensor("weight", bad, view).code() ==
          absl::StatusCode::kInvalidArgument);
  }
  CHECK(memory == std::string(4096, '?'));
}

/// A reader whose checkpoint is replaced once, when the index has been read.
class ReplacedReader final : public StorageReader {
 public:
  ReplacedReader(std::unique_ptr<StorageReader> base,
                 std::function<void()> replace)
      : base_(std::move(base)), replace_(std::move(replace)) {}

  StatusOr<CheckpointIndex> ReadIndex() override {
    auto index = base_->ReadIndex();
    if (replace_) std::exchange(replace_, nullptr)();
    return index;
  }
  StatusOr<CheckpointIndex> ReadRankIndex(int rank) override {
    return base_->ReadRankIndex(rank);
  }
  Status SetUp(const CheckpointIndex& index, const StorageRole& role) override {
    return base_->SetUp(index, role);
  }
  Status HoldData() override { return base_->HoldData(); }
  Status ReadData(const LoadPlan& plan, ReadTarget& target) override {
    return base_->ReadData(plan, target);
  }

 private:
  const std::unique_ptr<StorageReader> base_;
  std::function<void()> replace_;
};

TEST_CASE("opening looks again if the files have gone meanwhile",
          "[checkpoint]") {
  const NativePlace place{.fs = MakeMemoryFileSystem()};
  const auto save = [&](int step) {
    RequireAllSucceed(
        SaveOnRanks(Sharded(SmallState(step), 1), NativeStorage(place), {}));
  };
  save(1);
  const auto opened = Checkpoint::Open(std::make_unique<ReplacedReader>(
      NativeStorage(place).make_reader(), [&] { save(2); }));
  INFO(Message(opened.status()));
  REQUIRE(opened.ok());
  save(3);
  const auto step = (*opened)->ReadObject("step");
  INFO(Message(step.status()));
  REQUIRE(step.ok());
  CHECK(*step == SmallState(2).objects.at("step"));
}

TEST_CASE("a file that nobody has replaced is for reading to report",
          "[checkpoint]") {
  const NativePlace place{.fs = MakeMemoryFileSystem()};
  RequireAllSucceed(
      SaveOnRanks(Sharded(SmallState(1), 1), NativeStorage(place), {}));
  const auto entries = place.fs->List(place.directory).value();
  for (const DirectoryEntry& entry : entries) {
    if (!entry.name.ends_with(".distcp")) continue;
    DCP_CHECK_OK(place.fs->Remove(place.directory + "/" + entry.name));
  }
  const auto opened = Checkpoint::Open(NativeStorage(place).make_reader());
  REQUIRE(opened.ok());
  CHECK((*opened)->ReadObject("step").status().code() ==
        absl::StatusCode::kNotFound);
}

TEST_CASE("an object of no bytes is read as such", "[checkpoint]") {
  State state;
  state.objects["empty"] = "";
  const auto bytes = Opened(state)->ReadObject("empty");
  REQUIRE(bytes.ok());
  CHECK(bytes->empty());
}

TEST_CASE("what is no checkpoint cannot be opened", "[checkpoint]") {
  const testing::TempDirectory temp;
  CHECK(Checkpoint::Open(temp.path()).status().code() ==
        absl::StatusCode::kNotFound);
  CHECK(Checkpoint::Open(temp.path() + "/absent").status().code() ==
        absl::StatusCode::kNotFound);
}

}  // namespace
}  // namespace dcp
