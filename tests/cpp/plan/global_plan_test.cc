#include <algorithm>
#include <catch2/catch.hpp>
#include <set>
#include <string>
#include <vector>

#include "plan/plan_cases.h"

namespace dcp {
namespace {

using Catch::Matchers::Contains;

GlobalPlan MustPlan(const std::vector<SavePlan>& local,
                    const GlobalPlanOptions& options = {}) {
  StatusOr<GlobalPlan> global = CreateGlobalSavePlan(local, options);
  INFO(Message(global.status()));
  REQUIRE(global.ok());
  return *std::move(global);
}

void CheckRefused(const std::vector<SavePlan>& local,
                  std::initializer_list<std::string> words) {
  const Status status = CreateGlobalSavePlan(local, {}).status();
  CHECK(status.code() == absl::StatusCode::kInvalidArgument);
  for (const std::string& word : words) {
    CHECK_THAT(std::string(Message(status)), Contains(word));
  }
}

Box Rows(int64_t begin, int64_t count, int64_t columns) {
  return {.offsets = {begin, 0}, .sizes = {count, columns}};
}

/// `ranks` ranks that hold a fully sharded tensor, a replica and an object.
std::vector<SavePlan> ShardedJob(int64_t ranks) {
  std::vector<SavePlan> plans;
  for (int64_t rank = 0; rank < ranks; ++rank) {
    plans.push_back(
        PlanOf({TensorItem("w", {ranks * 3, 5}, Rows(rank * 3, 3, 5)),
                WholeItem("step", {}), ObjectItem("lr", 700)}));
  }
  return plans;
}

TEST_CASE("every item gets exactly one of its holders", "[global]") {
  Random random(1);
  for (int trial = 0; trial < 500; ++trial) {
    const auto ranks = static_cast<size_t>(random.Between(1, 8));
    std::vector<std::vector<WriteItem>> items(ranks);
    int64_t nbytes = 0;
    for (int key = 0; key < 8; ++key) {
      const std::string fqn = "key" + std::to_string(key);
      const Dims size = random.Sizes(3, 12);
      for (const Box& chunk : RandomPartition(&random, size, 10)) {
        const WriteItem item = TensorItem(fqn, size, chunk);
        nbytes += item.nbytes;
        const auto first = static_cast<size_t>(
            random.Between(0, static_cast<int64_t>(ranks) - 1));
        for (size_t rank = 0; rank < ranks; ++rank) {
          if (rank == first || random.OneIn(2)) items[rank].push_back(item);
        }
      }
    }
    std::vector<SavePlan> local;
    for (auto& of_rank : items) local.push_back(PlanOf(std::move(of_rank)));
    // Coverage, bounds and overlaps are checked in it.
    const GlobalPlan global = MustPlan(local, {.split_nbytes = 100});
    for (size_t rank = 0; rank < ranks; ++rank) {
      for (const WriteItem& item : global.plans[rank].items) {
        const WriteItem& source =
            local[rank].items[static_cast<size_t>(item.source)];
        REQUIRE(item.fqn == source.fqn);
        Box inner = item.chunk;
        for (int d = 0; d < inner.ndim(); ++d) {
          inner.offsets[d] -= source.chunk.offsets[d];
        }
        REQUIRE(InBounds(source.chunk.sizes, inner));
        REQUIRE(item.nbytes == item.chunk.numel() * 4);
        nbytes -= item.nbytes;
      }
    }
    REQUIRE(nbytes == 0);
  }
}

TEST_CASE("chunks are listed rank by rank, as torch does", "[global]") {
  const GlobalPlan global = MustPlan(ShardedJob(3));
  const TensorStorageMetadata* w = global.metadata.FindTensor("w");
  REQUIRE(w != nullptr);
  CHECK(w->size == Dims{9, 5});
  CHECK(w->chunks ==
        std::vector<Box>{Rows(0, 3, 5), Rows(3, 3, 5), Rows(6, 3, 5)});
  CHECK(global.metadata.FindTensor("step")->chunks == std::vector<Box>{Box{}});
  REQUIRE(global.metadata.entries().size() == 3);
  CHECK(global.metadata.entries()[2].first == "lr");
  CHECK(std::holds_alternative<BytesStorageMetadata>(
      global.metadata.entries()[2].second));
  CHECK(global.metadata.storage_data.empty());
}

TEST_CASE("keys are listed as they first appear over the ranks", "[global]") {
  const std::vector<SavePlan> local = {
      PlanOf({ObjectItem("b", 1), ObjectItem("a", 1)}),
      PlanOf({ObjectItem("c", 1), ObjectItem("a", 1)})};
  const GlobalPlan global = MustPlan(local);
  std::vector<std::string> keys;
  for (const auto& [key, entry] : global.metadata.entries()) {
    keys.push_back(key);
  }
  CHECK(keys == std::vector<std::string>{"b", "a", "c"});
}

TEST_CASE("a split tensor becomes shards that remember their source",
          "[global]") {
  const std::vector<SavePlan> local(
      2, PlanOf({ObjectItem("o", 1), WholeItem("w", {101, 10})}));
  const GlobalPlan global = MustPlan(local, {.split_nbytes = 1000});
  CHECK(global.metadata.FindTensor("w")->chunks.size() == 2);
  for (const SavePlan& plan : global.plans) {
    const WriteItem& item = plan.items.back();
    CHECK(item.fqn == "w");
    CHECK(item.type == WriteItemType::kShard);
    CHECK(item.source == 1);
    CHECK(item.nbytes == item.chunk.sizes[0] * 40);
    CHECK(item.chunk.sizes[1] == 10);
  }
}

TEST_CASE("empty shards are stored, once for each offset", "[global]") {
  const WriteItem empty = TensorItem("w", {1, 2}, Rows(1, 0, 2));
  const std::vector<SavePlan> local = {
      PlanOf({TensorItem("w", {1, 2}, Rows(0, 1, 2))}), PlanOf({empty}),
      PlanOf({empty})};
  const GlobalPlan global = MustPlan(local);
  CHECK(global.metadata.FindTensor("w")->chunks ==
        std::vector<Box>{Rows(0, 1, 2), Rows(1, 0, 2)});
  CHECK(global.plans[1].items.size() == 1);
  CHECK(global.plans[2].items.empty());
}

TEST_CASE("of the ranks' paths the lowest rank's win", "[global]") {
  std::vector<SavePlan> local = ShardedJob(3);
  CHECK_FALSE(MustPlan(local).metadata.planner_data.has_value());
  using Paths = std::unordered_map<std::string, ObjectPath>;
  const ObjectPath w = {"w"};
  const ObjectPath first = {"first"};
  const ObjectPath second = {"second"};
  const ObjectPath third = {int64_t{3}};
  local[1].planner_data = Paths{{"w", w}, {"lr", first}};
  local[2].planner_data = Paths{{"lr", second}, {"step", third}};
  const GlobalPlan global = MustPlan(local);
  CHECK(global.metadata.planner_data ==
        Paths{{"w", w}, {"lr", first}, {"step", third}});
  CHECK_FALSE(global.plans[1].planner_data.has_value());
}

TEST_CASE("moving the local plans gives what copying them gives", "[global]") {
  Random random(2);
  std::vector<SavePlan> local = ShardedJob(6);
  for (SavePlan& plan : local) {
    plan.items.push_back(WholeItem("big", {64, 64}));
    plan.planner_data.emplace();
    plan.planner_data->emplace("w", ObjectPath{"w"});
  }
  const GlobalPlanOptions options{.split_nbytes = 1024};
  const GlobalPlan copied = MustPlan(local, options);
  const StatusOr<GlobalPlan> moved =
      CreateGlobalSavePlan(std::move(local), options);
  REQUIRE(moved.ok());
  CHECK(moved->plans == copied.plans);
  CHECK(moved->metadata.entries() == copied.metadata.entries());
  CHECK(moved->metadata.planner_data == copied.metadata.planner_data);
}

TEST_CASE("ranks that disagree about a key are named with both values",
          "[global]") {
  const WriteItem w = TensorItem("w", {4, 4}, Rows(0, 2, 4));
  const WriteItem other = TensorItem("w", {4, 4}, Rows(2, 2, 4));
  const auto conflict = [&](const WriteItem& item) {
    return std::vector<SavePlan>{PlanOf({w}), PlanOf({ObjectItem("o", 1)}),
                                 PlanOf({item})};
  };
  const std::initializer_list<std::string> kind = {"rank 0 and rank 2", "w",
                                                   "tensor and object"};
  CheckRefused(conflict(ObjectItem("w", 5)), kind);
  CheckRefused(
      conflict(TensorItem("w", {4, 4}, other.chunk, DType::kFloat16)),
      {"rank 0 and rank 2", "w [offset=[2, 0]]", "dtype float32 and float16"});
  CheckRefused(conflict(TensorItem("w", {4, 5}, Rows(2, 2, 4))),
               {"rank 0 and rank 2", "global size [4, 4] and [4, 5]"});
  CheckRefused(conflict(TensorItem("w", {4, 4}, Rows(0, 3, 4))),
               {"rank 0 and rank 2", "w [offset=[0, 0]]",
                "chunk size [2, 4] and [3, 4]"});
  WriteItem sparse = other;
  sparse.properties.layout = Layout::kSparseCoo;
  CheckRefused(conflict(sparse), {"rank 0 and rank 2", "layout"});
}

TEST_CASE("ranks may differ in what no loader needs", "[global]") {
  WriteItem plain = WholeItem("w", {4, 4});
  plain.properties.requires_grad = true;
  const WriteItem shard = TensorItem("w", {4, 4}, WholeBox({4, 4}));
  const GlobalPlan global = MustPlan({PlanOf({plain}), PlanOf({shard})});
  CHECK(global.metadata.FindTensor("w")->properties.requires_grad);
  CHECK(global.plans[0].items[0].type == WriteItemType::kTensor);
}

TEST_CASE("a rank that lists a key twice is named", "[global]") {
  const WriteItem w = WholeItem("w", {4, 4});
  CheckRefused({PlanOf({ObjectItem("o", 1)}), PlanOf({w, w})},
               {"rank 1 lists w [offset=[0, 0]] twice"});
  CheckRefused({PlanOf({ObjectItem("o", 1), ObjectItem("o", 1)})},
               {"rank 0 lists o twice"});
}

TEST_CASE("impossible items name the rank and the key", "[global]") {
  CheckRefused({PlanOf({}), PlanOf({TensorItem("w", {4, 4}, Rows(3, 2, 4))})},
               {"rank 1", "w [offset=[3, 0]]", "out of the bounds"});
  const int64_t big = int64_t{1} << 40;
  WriteItem huge = TensorItem("w", {0}, WholeBox({0}));
  huge.global_size = {big, big};
  CheckRefused({PlanOf({huge})}, {"rank 0", "impossible global size"});
  CheckRefused({PlanOf({ObjectItem("o", -1)})}, {"rank 0", "-1 bytes"});
}

TEST_CASE("more bytes than 64 bits count are refused", "[global]") {
  const Dims many = {int64_t{1} << 60};
  std::vector<WriteItem> items;
  for (int i = 0; i < 4; ++i) {
    items.push_back(WholeItem("big" + std::to_string(i), many));
  }
  CheckRefused({PlanOf(items)}, {"rank 0", "big", "64 bits"});
  items.resize(1);
  MustPlan({PlanOf(items)});
}

TEST_CASE("gaps and overlaps between ranks are refused", "[global]") {
  std::vector<SavePlan> local = ShardedJob(3);
  local[1].items.erase(local[1].items.begin());
  CheckRefused(local, {"w of shape [9, 5]", "hold 30 of 45"});
  CHECK(CreateGlobalSavePlan(local, {.require_full_coverage = false}).ok());
  local[1].items.push_back(TensorItem("w", {9, 5}, Rows(2, 2, 5)));
  CheckRefused(local, {"w of shape [9, 5]", "overlapping"});
}

TEST_CASE("ranks without items get empty plans", "[global]") {
  const GlobalPlan global = MustPlan({PlanOf({}), PlanOf({})});
  CHECK(global.plans.size() == 2);
  CHECK(global.metadata.entries().empty());
  CHECK(MustPlan({}).plans.empty());
}

}  // namespace
}  // namespace dcp
