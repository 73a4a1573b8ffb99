#include "plan/key_blocks.h"

#include <catch2/catch.hpp>
#include <string>
#include <vector>

#include "plan/plan_cases.h"

namespace dcp {
namespace {

using Catch::Matchers::Contains;

SavePlan WithPaths(SavePlan plan, int64_t rank) {
  plan.planner_data.emplace();
  for (const WriteItem& item : plan.items) {
    plan.planner_data->emplace(item.fqn, ObjectPath{"at", rank, item.fqn});
  }
  return plan;
}

/// The keys that all ranks have, and between them one of `rank`'s own.
SavePlan PlanOfRank(int64_t rank, int64_t keys) {
  std::vector<WriteItem> items;
  for (int64_t i = 0; i < keys; ++i) {
    if (i == keys / 2) {
      items.push_back(ObjectItem("data.rank_" + std::to_string(rank), 5));
    }
    const std::string fqn = "layers." + std::to_string(i);
    if (i % 5 == 0) items.push_back(ObjectItem(fqn + ".lr", 3));
    // Some say no size, since it is that of the tensor before.
    items.push_back(WholeItem(fqn, {i / 3 + 1, 2}));
  }
  return WithPaths(PlanOf(std::move(items)), rank);
}

TEST_CASE("a block keeps paths and ties", "[key_blocks]") {
  SavePlan plan = PlanOf({WholeItem("a", {2}), ObjectItem("b", 3)});
  plan.planner_data.emplace();
  plan.planner_data->emplace("a", ObjectPath{"x", int64_t{7}});
  plan.ties.emplace("a", "z");
  const std::string bytes = SerializeKeyBlock(plan);
  KeyBlocks blocks;
  const StatusOr<KeyBlock> block = blocks.Read(bytes);
  REQUIRE(block.ok());
  CHECK(blocks.TakePaths() == plan.planner_data);
  CHECK(block->ties == plan.ties);
}

TEST_CASE("a key of a rank's own is all that its block adds", "[key_blocks]") {
  std::vector<std::string> bytes;
  for (int64_t rank = 0; rank < 120; ++rank) {
    bytes.push_back(SerializeKeyBlock(PlanOfRank(rank, 100)));
  }
  KeyBlocks blocks;
  for (int64_t rank = 0; rank < 120; ++rank) {
    const auto block = blocks.Read(bytes[static_cast<size_t>(rank)]);
    REQUIRE(block.ok());
    const SavePlan plan = PlanOfRank(rank, 100);
    REQUIRE(block->entries.size() == plan.items.size());
    for (size_t i = 0; i < plan.items.size(); ++i) {
      const KeyEntry& entry = blocks.EntryOf(block->entries[i]);
      CHECK(entry.fqn == plan.items[i].fqn);
      CHECK(entry.type == plan.items[i].type);
      CHECK(entry.global_size == plan.items[i].global_size);
    }
  }
  CHECK(blocks.size() == 120 + 120);
  CHECK(blocks.key_count() == 120 + 120);
  const auto paths = blocks.TakePaths();
  REQUIRE(paths);
  CHECK(paths->size() == 120 + 120);
  CHECK(paths->at("layers.70") == ObjectPath{"at", int64_t{0}, "layers.70"});
  CHECK(paths->at("data.rank_7") ==
        ObjectPath{"at", int64_t{7}, "data.rank_7"});
}

TEST_CASE("blocks read after others say what they say alone", "[key_blocks]") {
  Random random(1);
  for (int trial = 0; trial < 1000; ++trial) {
    std::vector<std::string> bytes;
    for (SavePlan& plan : RandomJob(&random, 6)) {
      for (WriteItem& item : plan.items) {
        if (random.OneIn(9)) item.properties.pin_memory = true;
        if (random.OneIn(9)) item = ObjectItem(item.fqn, 3);
        if (random.OneIn(9)) item = WholeItem(item.fqn, {3, 3});
      }
      bytes.push_back(
          SerializeKeyBlock(WithPaths(std::move(plan), random.Between(0, 3))));
    }
    KeyBlocks together;
    for (const std::string& of_rank : bytes) {
      KeyBlocks alone;
      const auto block = together.Read(of_rank);
      const auto expected = alone.Read(of_rank);
      REQUIRE(block.ok());
      REQUIRE(expected.ok());
      REQUIRE(block->entries.size() == expected->entries.size());
      for (size_t i = 0; i < block->entries.size(); ++i) {
        REQUIRE(together.EntryOf(block->entries[i]) ==
                alone.EntryOf(expected->entries[i]));
      }
    }
  }
}

TEST_CASE("few bytes of many dimensions are refused", "[key_blocks]") {
  const Dims sizes = Dims::Filled(Dims::kMaxDims, 1);
  std::vector<WriteItem> items;
  for (int i = 0; i < 10; ++i) {
    items.push_back(WholeItem("layers.weight" + std::to_string(i), sizes));
  }
  const std::string few = SerializeKeyBlock(PlanOf(items));
  CHECK(KeyBlocks().Read(few).ok());
  for (int i = 0; i < 1000; ++i) {
    items.push_back(WholeItem("layers.weight" + std::to_string(i), sizes));
  }
  const std::string many = SerializeKeyBlock(PlanOf(items));
  const Status status = KeyBlocks().Read(many).status();
  CHECK(status.code() == absl::StatusCode::kDataLoss);
  CHECK_THAT(std::string(Message(status)),
             Contains("dimensions and more") && Contains("8 a byte"));
}

TEST_CASE("paths that do not ascend are refused", "[key_blocks]") {
  WireWriter out;
  out.PutVarint(0);
  out.PutU8(1);
  out.PutVarint(2);
  for (int i = 0; i < 2; ++i) {
    PutKey("a", {}, &out);
    out.PutVarint(1);
    out.PutVarint(2);
    out.PutU8(1);
  }
  PutTies({}, &out);
  const Status status = KeyBlocks().Read(out.data()).status();
  CHECK(status.code() == absl::StatusCode::kDataLoss);
  CHECK_THAT(std::string(Message(status)), Contains("malformed at byte"));
}

}  // namespace
}  // namespace dcp
