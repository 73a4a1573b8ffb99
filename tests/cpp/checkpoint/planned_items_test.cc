#include "checkpoint/planned_items.h"

#include <catch2/catch.hpp>
#include <string>
#include <utility>
#include <vector>

#include "conformance/check_files.h"

namespace dcp {
namespace {

WriteItem Chunk(const std::string& fqn, const Dims& offsets) {
  return {.fqn = fqn,
          .type = WriteItemType::kShard,
          .chunk = {.offsets = offsets, .sizes = {2, 2}},
          .global_size = {4, 4}};
}

WriteItem Object(const std::string& fqn) {
  return {.fqn = fqn, .type = WriteItemType::kByteIo};
}

/// Rank 0 writes two chunks of w and an object, rank 1 the others and a tensor
/// of its own; not in the order of offsets.
GlobalPlan TwoRanks() {
  GlobalPlan global;
  global.plans.resize(2);
  global.plans[0].items = {Chunk("w", {2, 0}), Object("step"),
                           Chunk("w", {0, 0})};
  global.plans[1].items = {Chunk("w", {0, 2}), Chunk("v", {0, 0}),
                           Chunk("w", {2, 2})};
  TensorStorageMetadata w{.size = {4, 4}};
  for (const Dims& offsets : {Dims{2, 0}, Dims{0, 0}, Dims{0, 2}, Dims{2, 2}}) {
    w.chunks.push_back({.offsets = offsets, .sizes = {2, 2}});
  }
  global.metadata.Add("w", std::move(w));
  global.metadata.Add("step", BytesStorageMetadata());
  global.metadata.Add(
      "v",
      TensorStorageMetadata{.size = {4, 4},
                            .chunks = {{.offsets = {0, 0}, .sizes = {2, 2}}}});
  return global;
}

std::vector<WriteResult> ResultsOf(const SavePlan& plan) {
  std::vector<WriteResult> results;
  for (const WriteItem& item : plan.items) {
    results.push_back({.index = item.index()});
  }
  return results;
}

TEST_CASE("results of what was planned pass, in any order, and are numbered",
          "[planned_items]") {
  const GlobalPlan global = TwoRanks();
  const StatusOr<PlannedItems> planned = PlannedItems::Of(global);
  REQUIRE(planned.ok());
  std::vector<WriteResult> first = ResultsOf(global.plans[0]);
  std::swap(first[0], first[2]);
  DCP_CHECK_OK(planned->Check(0, global.metadata, first));
  CHECK(first[0].index.index == 1);  // w [0, 0]
  CHECK_FALSE(first[1].index.index.has_value());
  CHECK(first[2].index.index == 0);  // w [2, 0]
  std::vector<WriteResult> second = ResultsOf(global.plans[1]);
  DCP_CHECK_OK(planned->Check(1, global.metadata, second));
  CHECK(second[0].index.index == 2);  // w [0, 2]
  CHECK(second[1].index.index == 0);  // v
  CHECK(second[2].index.index == 3);  // w [2, 2]
}

TEST_CASE("an item that is missing is named", "[planned_items]") {
  const GlobalPlan global = TwoRanks();
  const StatusOr<PlannedItems> planned = PlannedItems::Of(global);
  REQUIRE(planned.ok());
  for (size_t missing = 0; missing < 3; ++missing) {
    std::vector<WriteResult> results = ResultsOf(global.plans[0]);
    const std::string name = ToString(results[missing].index);
    results.erase(results.begin() + static_cast<ptrdiff_t>(missing));
    const Status status = planned->Check(0, global.metadata, results);
    CHECK(status.code() == absl::StatusCode::kInternal);
    CHECK(std::string(status.message()) ==
          "the storage did not report 1 planned items, among them " + name);
  }
  std::vector<WriteResult> none;
  CHECK_FALSE(planned->Check(1, global.metadata, none).ok());
}

TEST_CASE("an item that was not planned, or twice, is named",
          "[planned_items]") {
  const GlobalPlan global = TwoRanks();
  const StatusOr<PlannedItems> planned = PlannedItems::Of(global);
  REQUIRE(planned.ok());
  const std::vector<MetadataIndex> wrong = {
      {.fqn = "absent"},
      {.fqn = "absent", .offset = Dims{0, 0}},
      {.fqn = "step", .offset = Dims{}},
      {.fqn = "step", .offset = Dims{0, 0}},
      {.fqn = "w"},
      {.fqn = "w", .offset = Dims{0, 2}},  // rank 1's
      {.fqn = "w", .offset = Dims{1, 0}},
      {.fqn = "w", .offset = Dims{0}},
      {.fqn = "w", .offset = Dims{9, 9}},
      {.fqn = "v", .offset = Dims{0, 0}},  // rank 1's
      {.fqn = "w", .offset = Dims{2, 0}},  // planned, but twice
      {.fqn = "step"},                     // the same
  };
  for (const MetadataIndex& index : wrong) {
    CAPTURE(ToString(index));
    std::vector<WriteResult> results = ResultsOf(global.plans[0]);
    results.push_back({.index = index});
    const Status status = planned->Check(0, global.metadata, results);
    CHECK(status.code() == absl::StatusCode::kInternal);
    CHECK(std::string(status.message()).find(ToString(index)) !=
          std::string::npos);
  }
}

TEST_CASE("a plan whose items are not in its metadata is refused",
          "[planned_items]") {
  for (const WriteItem& item :
       {Chunk("absent", {0, 0}), Object("absent"), Object("w"),
        Chunk("step", {0, 0}), Chunk("w", {0, 0}), Chunk("v", {1, 1})}) {
    CAPTURE(ToString(item.index()));
    GlobalPlan global = TwoRanks();
    global.plans[1].items.push_back(item);
    CHECK(PlannedItems::Of(global).status().code() ==
          absl::StatusCode::kInternal);
  }
}

}  // namespace
}  // namespace dcp
