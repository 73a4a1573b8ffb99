#include "plan/plan_message.h"

#include <catch2/catch.hpp>
#include <limits>
#include <string>
#include <vector>

#include "plan/plan_cases.h"

namespace dcp {
namespace {

using Catch::Matchers::Contains;

WriteItem RandomItem(Random* random) {
  const std::string fqn = "layers." + std::to_string(random->Between(0, 20));
  if (random->OneIn(5)) return ObjectItem(fqn, random->Between(-5, 1000));
  const Dims sizes = random->Sizes(5, 300);
  WriteItem item =
      TensorItem(fqn, sizes, random->PartOf(sizes),
                 random->Pick({DType::kFloat32, DType::kBFloat16}));
  if (random->OneIn(3)) item = WholeItem(item.fqn, sizes);
  if (random->OneIn(5)) item.properties.pin_memory = true;
  if (random->OneIn(5)) item.nbytes = random->Between(-5, 1000);
  if (random->OneIn(9)) item.chunk = random->PartOf(random->Sizes(5, 300));
  if (random->OneIn(9)) item.global_size.push_back(int64_t{1} << 62);
  return item;
}

SavePlan RandomPlan(Random* random) {
  std::vector<WriteItem> items;
  for (int64_t n = random->Between(0, 20); n > 0; --n) {
    items.push_back(RandomItem(random));
    if (items.size() > 1 && random->OneIn(3)) {
      items.back() = items[items.size() - 2];
    }
  }
  SavePlan plan = PlanOf(std::move(items));
  if (!plan.items.empty() && random->OneIn(3)) {
    plan.items.back().source = std::numeric_limits<int64_t>::max();
    plan.items.push_back(RandomItem(random));
  }
  return plan;
}

/// Reads all of `message`, whose block it has, as it was listed.
StatusOr<std::vector<WriteItem>> ItemsOf(std::string_view bytes) {
  DCP_ASSIGN_OR_RETURN(const PlanMessage message, SplitPlanMessage(bytes));
  KeyBlocks keys;
  DCP_ASSIGN_OR_RETURN(const KeyBlock block, keys.Read(message.block));
  RecordReader reader(keys, block, message.records);
  std::vector<WriteItem> items;
  for (size_t i = 0; i < block.entries.size() && reader.Next(); ++i) {
    items.push_back(reader.Item());
  }
  DCP_RETURN_IF_ERROR(reader.Finish());
  return items;
}

TEST_CASE("a plan's items come back from its message", "[message]") {
  Random random(1);
  for (int trial = 0; trial < 3000; ++trial) {
    const SavePlan plan = RandomPlan(&random);
    const StatusOr<std::vector<WriteItem>> items =
        ItemsOf(SerializePlanMessage(plan));
    INFO(Message(items.status()));
    REQUIRE(items.ok());
    REQUIRE(*items == plan.items);
  }
}

TEST_CASE("every truncation of a plan's message is an error", "[message]") {
  Random random(2);
  for (int trial = 0; trial < 30; ++trial) {
    const std::string bytes = SerializePlanMessage(RandomPlan(&random));
    for (size_t n = 0; n < bytes.size(); ++n) {
      const auto items = ItemsOf(std::string_view(bytes).substr(0, n));
      REQUIRE(items.status().code() == absl::StatusCode::kDataLoss);
    }
    CHECK(ItemsOf(bytes + '\0').status().code() == absl::StatusCode::kDataLoss);
  }
}

TEST_CASE("ranks of the same keys send the same block", "[message]") {
  std::vector<std::string> messages;
  for (int64_t row = 0; row < 3; ++row) {
    SavePlan plan = PlanOf(
        {TensorItem("w", {3, 9}, {.offsets = {row, 0}, .sizes = {1, 9}})});
    plan.planner_data.emplace();
    plan.planner_data->emplace("w", ObjectPath{"w", row < 2 ? 1 : 2});
    messages.push_back(SerializePlanMessage(plan));
  }
  const PlanMessage a = *SplitPlanMessage(messages[0]);
  const PlanMessage b = *SplitPlanMessage(messages[1]);
  const PlanMessage other = *SplitPlanMessage(messages[2]);
  CHECK(a.block == b.block);
  CHECK(a.block_digest == b.block_digest);
  CHECK(a.records != b.records);
  CHECK_FALSE(a.block_digest == other.block_digest);
  const std::string stripped = StripBlock(a);
  const PlanMessage short_a = *SplitPlanMessage(stripped);
  CHECK(short_a.block.empty());
  CHECK(short_a.block_digest == a.block_digest);
  CHECK(short_a.records == a.records);
}

TEST_CASE("bytes of a huge tensor without elements are none", "[message]") {
  // 2 ** 63 bytes before the last dimension: for the undefined behaviour
  // sanitizer.
  const Dims sizes = {int64_t{1} << 40, int64_t{1} << 20, 0};
  const std::vector<WriteItem> items = {
      WholeItem("empty", sizes, DType::kFloat64)};
  const auto read = ItemsOf(SerializePlanMessage(PlanOf(items)));
  REQUIRE(read.ok());
  CHECK(read->at(0).nbytes == 0);
}

TEST_CASE("a message of another version is refused by name", "[message]") {
  std::string bytes = SerializePlanMessage(PlanOf({ObjectItem("a", 1)}));
  bytes[0] = 9;
  bytes[1] = 8;
  const Status status = SplitPlanMessage(bytes).status();
  CHECK(status.code() == absl::StatusCode::kFailedPrecondition);
  CHECK_THAT(std::string(Message(status)),
             Contains("needs a reader of version 8"));
  const std::string items = SerializeSavePlan(PlanOf({ObjectItem("a", 1)}));
  CHECK_THAT(std::string(Message(SplitPlanMessage(items).status())),
             Contains("of version 2") && Contains("this reads 3 to 3"));
}

TEST_CASE("a record of rows has few bytes", "[message]") {
  const Dims size = {28672, 8192};
  Box shard = WholeBox(size);
  shard.offsets[0] = 28000;
  shard.sizes[0] = 4;
  std::vector<WriteItem> items;
  for (int layer = 0; layer < 80; ++layer) {
    const std::string fqn = "layers." + std::to_string(layer);
    items.push_back(WholeItem("step." + fqn, {}));
    for (const char* name : {".weight", ".exp_avg", ".exp_avg_sq"}) {
      items.push_back(TensorItem(fqn + name, size, shard));
    }
  }
  const std::string bytes = SerializePlanMessage(PlanOf(items));
  CHECK(SplitPlanMessage(bytes)->records.size() == 80 * (1 + 5 + 1 + 1));
}

}  // namespace
}  // namespace dcp
