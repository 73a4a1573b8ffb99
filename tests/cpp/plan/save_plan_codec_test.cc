#include <catch2/catch.hpp>
#include <limits>
#include <string>

#include "plan/plan_cases.h"

namespace dcp {
namespace {

std::string RandomText(Random* random) {
  std::string text;
  for (int64_t n = random->Between(0, 300); n > 0; n -= 20) {
    text += random->Pick<std::string>(
        {"layers.", "17", ".weight", "\xc3\xa4", std::string(1, '\0')});
  }
  return text;
}

WriteItem RandomItem(Random* random) {
  if (random->OneIn(5)) {
    return ObjectItem(RandomText(random), random->Between(0, 1000));
  }
  const Dims sizes = random->Sizes(7, 300);
  WriteItem item =
      TensorItem(RandomText(random), sizes, random->PartOf(sizes),
                 random->Pick({DType::kFloat32, DType::kBFloat16}));
  if (random->OneIn(3)) item = WholeItem(item.fqn, sizes);
  if (random->OneIn(5)) item.properties.layout = Layout::kJagged;
  if (random->OneIn(5)) item.properties.requires_grad = true;
  if (random->OneIn(5)) item.properties.pin_memory = true;
  if (random->OneIn(5)) {
    item.properties.memory_format = MemoryFormat::kPreserve;
  }
  if (random->OneIn(5)) item.nbytes = random->Between(-5, 1000);
  return item;
}

SavePlan RandomPlan(Random* random) {
  std::vector<WriteItem> items;
  for (int64_t n = random->Between(0, 20); n > 0; --n) {
    items.push_back(RandomItem(random));
  }
  SavePlan plan = PlanOf(std::move(items));
  if (!plan.items.empty() && random->OneIn(3)) {
    plan.items.back().source = std::numeric_limits<int64_t>::max();
    plan.items.push_back(RandomItem(random));
  }
  if (random->OneIn(2)) return plan;
  plan.planner_data.emplace();
  for (const WriteItem& item : plan.items) {
    ObjectPath path = {item.fqn};
    if (random->OneIn(2)) path = {"a.b", int64_t{-3}, "", item.fqn};
    plan.planner_data->emplace(item.fqn, path);
  }
  plan.planner_data->emplace("layers.17.weight",
                             ObjectPath{"layers", int64_t{17}, "weight"});
  plan.planner_data->emplace("nothing", ObjectPath{});
  return plan;
}

TEST_CASE("a save plan comes back as it was sent", "[codec]") {
  Random random(1);
  for (int trial = 0; trial < 2000; ++trial) {
    const SavePlan plan = RandomPlan(&random);
    const std::string bytes = SerializeSavePlan(plan);
    const StatusOr<SavePlan> parsed = ParseSavePlan(bytes);
    INFO(Message(parsed.status()));
    REQUIRE(parsed.ok());
    REQUIRE(*parsed == plan);
    REQUIRE(SerializeSavePlan(*parsed) == bytes);
  }
}

TEST_CASE("every truncation of a save plan is an error", "[codec]") {
  Random random(2);
  for (int trial = 0; trial < 30; ++trial) {
    const std::string bytes = SerializeSavePlan(RandomPlan(&random));
    for (size_t n = 0; n < bytes.size(); ++n) {
      const auto parsed = ParseSavePlan(std::string_view(bytes).substr(0, n));
      REQUIRE(parsed.status().code() == absl::StatusCode::kDataLoss);
    }
    CHECK(ParseSavePlan(bytes + '\0').status().code() ==
          absl::StatusCode::kDataLoss);
  }
}

TEST_CASE("garbled save plans are refused or parsed, never trusted",
          "[codec]") {
  Random random(3);
  int refused = 0;
  for (int trial = 0; trial < 20'000; ++trial) {
    std::string bytes = SerializeSavePlan(RandomPlan(&random));
    for (int64_t n = random.Between(1, 4); n > 0; --n) {
      const auto at = static_cast<size_t>(
          random.Between(0, static_cast<int64_t>(bytes.size()) - 1));
      bytes[at] = static_cast<char>(bytes[at] ^ (1 << random.Between(0, 7)));
    }
    const StatusOr<SavePlan> parsed = ParseSavePlan(bytes);
    if (parsed.ok()) continue;  // another plan that is well-formed
    ++refused;
    const absl::StatusCode code = parsed.status().code();
    REQUIRE((code == absl::StatusCode::kDataLoss ||
             code == absl::StatusCode::kFailedPrecondition));
  }
  CHECK(refused > 2000);
}

TEST_CASE("random bytes are no save plan", "[codec]") {
  Random random(4);
  for (int trial = 0; trial < 20'000; ++trial) {
    std::string bytes = "\x01\x01";
    for (int64_t n = random.Between(0, 60); n > 0; --n) {
      bytes += static_cast<char>(random.Between(0, 255));
    }
    const StatusOr<SavePlan> parsed = ParseSavePlan(bytes);
    if (!parsed.ok()) {
      REQUIRE(parsed.status().code() == absl::StatusCode::kDataLoss);
    }
  }
}

TEST_CASE("a plan for newer readers is refused by name", "[codec]") {
  std::string bytes = SerializeSavePlan(PlanOf({ObjectItem("a", 1)}));
  bytes[0] = 9;
  bytes[1] = 8;
  const Status status = ParseSavePlan(bytes).status();
  CHECK(status.code() == absl::StatusCode::kFailedPrecondition);
  CHECK_THAT(std::string(Message(status)),
             Catch::Matchers::Contains("needs a reader of version 8"));
  // One that older readers may read can end in what they do not know.
  bytes[1] = 1;
  CHECK(ParseSavePlan(bytes + "new").ok());
}

TEST_CASE("an item takes few bytes beside its key", "[codec]") {
  std::vector<WriteItem> items;
  const Dims sizes[] = {{8192, 1024}, {28672, 8192}, {8192}};
  size_t key_bytes = 0;
  for (int layer = 0; layer < 80; ++layer) {
    for (int i = 0; i < 3; ++i) {
      const std::string fqn = "optim.state.layers." + std::to_string(layer) +
                              ".attention.w" + std::to_string(i) + ".weight";
      Box shard = WholeBox(sizes[i]);
      shard.sizes[0] /= 512;
      shard.offsets[0] = 301 * shard.sizes[0];
      items.push_back(TensorItem(fqn, sizes[i], shard));
      key_bytes += fqn.size();
    }
  }
  const size_t nbytes = SerializeSavePlan(PlanOf(items)).size();
  INFO(nbytes << " bytes for " << items.size() << " items");
  CHECK(nbytes < items.size() * 40);
  CHECK(nbytes < key_bytes);
}

}  // namespace
}  // namespace dcp
