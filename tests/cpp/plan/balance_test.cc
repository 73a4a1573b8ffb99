#include <algorithm>
#include <catch2/catch.hpp>
#include <limits>
#include <map>
#include <numeric>
#include <vector>

#include "plan/item_balance.h"
#include "plan/item_pieces.h"
#include "plan/plan_cases.h"

namespace dcp {
namespace {

constexpr int64_t kMiB = int64_t{1} << 20;

/// A float32 tensor of `nbytes` in rows of 1 KiB.
WriteItem Replica(const std::string& fqn, int64_t nbytes) {
  return WholeItem(fqn, {nbytes / 1024, 256});
}

struct Result {
  Assignment assignment;
  std::vector<ItemGroup> groups;
  std::vector<std::vector<uint32_t>> holders;  // ranks, by group
};

Result Balance(const std::vector<SavePlan>& plans,
               const GlobalPlanOptions& options = {}) {
  const StatusOr<ItemGroups> groups = ItemGroups::Make(plans);
  REQUIRE(groups.ok());
  Result result{.assignment = AssignOwners(*groups, options)};
  for (const ItemGroup& group : groups->groups()) {
    result.groups.push_back(group);
    std::vector<uint32_t>& ranks = result.holders.emplace_back();
    for (const ItemRef& ref : groups->Holders(group)) ranks.push_back(ref.rank);
  }
  return result;
}

int64_t MaxLoad(const std::vector<int64_t>& loads) {
  return *std::max_element(loads.begin(), loads.end());
}

/// torch 2.13 _dedup_save_plans.py, word for word: what each rank then writes.
std::vector<int64_t> LoadsOfTorch(const std::vector<SavePlan>& plans) {
  using Key = std::pair<std::string, Dims>;
  std::vector<Key> order;
  std::map<Key, std::vector<std::pair<size_t, const WriteItem*>>> holders;
  for (size_t rank = 0; rank < plans.size(); ++rank) {
    for (const WriteItem& item : plans[rank].items) {
      auto& found = holders[{item.fqn, item.chunk.offsets}];
      if (found.empty()) order.emplace_back(item.fqn, item.chunk.offsets);
      found.emplace_back(rank, &item);
    }
  }
  std::vector<int64_t> sizes(plans.size());
  std::vector<int64_t> loads(plans.size());
  for (const Key& key : order) {
    auto selected = holders[key].front();
    for (const auto& holder : holders[key]) {
      if (sizes[holder.first] < sizes[selected.first]) selected = holder;
    }
    const WriteItem& item = *selected.second;
    const int64_t size =
        item.type == WriteItemType::kByteIo
            ? 0
            : Numel(item.global_size) * ItemSize(item.properties.dtype);
    sizes[selected.first] += size != 0 ? size : 1;
    loads[selected.first] += item.nbytes;
  }
  return loads;
}

TEST_CASE("no rank writes more than the busiest one under torch's rule",
          "[balance]") {
  Random random(1);
  int better = 0;
  for (int trial = 0; trial < 3000; ++trial) {
    const auto plans =
        RandomJob(&random, static_cast<size_t>(random.Between(1, 9)));
    const Result result = Balance(
        plans, {.split_nbytes = random.Pick<int64_t>({0, 512, 4096, kMiB})});
    const int64_t ours = MaxLoad(result.assignment.loads);
    const int64_t torchs = MaxLoad(LoadsOfTorch(plans));
    REQUIRE(ours <= torchs);
    better += ours < torchs ? 1 : 0;
  }
  CHECK(better > 1000);
}

TEST_CASE("loads add up to what is written", "[balance]") {
  Random random(2);
  for (int trial = 0; trial < 500; ++trial) {
    const auto plans = RandomJob(&random, 5);
    const auto groups = ItemGroups::Make(plans);
    REQUIRE(groups.ok());
    const Assignment assignment = AssignOwners(*groups, {.split_nbytes = 700});
    std::vector<int64_t> loads(plans.size());
    for (size_t i = 0; i < groups->groups().size(); ++i) {
      const auto holders = groups->Holders(groups->groups()[i]);
      const auto split = assignment.pieces.find(i);
      if (split == assignment.pieces.end()) {
        const ItemRef owner = holders[assignment.owners[i]];
        loads[owner.rank] += groups->At(owner).nbytes;
        continue;
      }
      for (const Piece& piece : split->second) {
        const ItemRef owner = holders[piece.holder];
        loads[owner.rank] += piece.rows * RowNbytesOf(groups->At(owner));
      }
    }
    CHECK(loads == assignment.loads);
  }
}

TEST_CASE("what one rank alone holds counts before the rest is dealt out",
          "[balance]") {
  std::vector<SavePlan> plans = {
      PlanOf({Replica("shared", 8 * kMiB), Replica("alone", 9 * kMiB)}),
      PlanOf({Replica("shared", 8 * kMiB)})};
  const Result result = Balance(plans);
  CHECK(result.assignment.loads == std::vector<int64_t>{9 * kMiB, 8 * kMiB});
}

TEST_CASE("equal items go to ranks in turn, the lowest first", "[balance]") {
  std::vector<WriteItem> items;
  for (int i = 0; i < 6; ++i) {
    items.push_back(Replica("t" + std::to_string(i), kMiB));
  }
  const std::vector<SavePlan> plans(3, PlanOf(items));
  CHECK(Balance(plans).assignment.owners ==
        std::vector<uint32_t>{0, 1, 2, 0, 1, 2});
}

TEST_CASE("a large replica is shared by the ranks that hold it", "[balance]") {
  const std::vector<SavePlan> plans(
      4, PlanOf({Replica("embedding", 1024 * kMiB)}));
  const Result result = Balance(plans);
  REQUIRE(result.assignment.pieces.size() == 1);
  const std::vector<Piece>& pieces = result.assignment.pieces.at(0);
  REQUIRE(pieces.size() == 4);
  int64_t row = 0;
  for (uint32_t i = 0; i < 4; ++i) {
    CHECK(pieces[i].holder == i);
    CHECK(pieces[i].row_begin == row);
    CHECK(pieces[i].rows == 1024 * 1024 / 4);
    row += pieces[i].rows;
  }
  CHECK(row == 1024 * 1024);
}

TEST_CASE("a rank with other work takes less of a large replica", "[balance]") {
  const WriteItem shared = Replica("shared", 300 * kMiB);
  const std::vector<SavePlan> plans = {
      PlanOf({shared, Replica("alone", 100 * kMiB)}), PlanOf({shared})};
  const std::vector<int64_t> loads = Balance(plans).assignment.loads;
  CHECK(loads[0] + loads[1] == 400 * kMiB);
  CHECK(std::abs(loads[0] - loads[1]) <= 17 * kMiB);  // one quantum
}

TEST_CASE("pieces are at least about half of the split size", "[balance]") {
  Random random(3);
  for (int trial = 0; trial < 300; ++trial) {
    const auto ranks = static_cast<size_t>(random.Between(2, 40));
    const int64_t split_nbytes = random.Between(1, 64) * 16 * 1024;
    const int64_t rows = random.Between(1, 4000);
    const std::vector<SavePlan> plans(
        ranks, PlanOf({Replica("a", rows * 1024), Replica("b", 99 * 1024)}));
    const Result result = Balance(plans, {.split_nbytes = split_nbytes});
    CHECK((rows * 1024 > split_nbytes) == result.assignment.pieces.contains(0));
    for (const auto& [group, pieces] : result.assignment.pieces) {
      CHECK(pieces.size() <= ranks);
      for (const Piece& piece : pieces) {
        CHECK(piece.rows * 1024 > split_nbytes / 2 - 1024);
      }
    }
  }
}

TEST_CASE("what cannot be cut between rows stays whole", "[balance]") {
  const GlobalPlanOptions small{.split_nbytes = 16};
  WriteItem encoded = Replica("encoded", kMiB);
  encoded.nbytes -= 4;
  for (const WriteItem& item :
       {encoded, WholeItem("one row", {1, 1 << 20}), WholeItem("scalar", {}),
        ObjectItem("object", kMiB), WholeItem("empty rows", {1 << 20, 0})}) {
    const std::vector<SavePlan> plans(3, PlanOf({item}));
    INFO(item.fqn);
    CHECK(Balance(plans, small).assignment.pieces.empty());
    CHECK(Balance(plans, small).assignment.owners == std::vector<uint32_t>{0});
  }
  const std::vector<SavePlan> plans(3, PlanOf({Replica("tensor", kMiB)}));
  CHECK(Balance(plans, {.split_nbytes = 0}).assignment.pieces.empty());
  CHECK(Balance(plans, small).assignment.pieces.size() == 1);
  // Not if one of the holders has it encoded.
  const WriteItem plain = Replica("encoded", kMiB);
  CHECK(Balance({PlanOf({plain}), PlanOf({encoded}), PlanOf({plain})}, small)
            .assignment.pieces.empty());
}

TEST_CASE("the lowest rank writes everything if asked to", "[balance]") {
  Random random(4);
  const auto plans = RandomJob(&random, 6);
  const Result result =
      Balance(plans, {.dedup_to_lowest_rank = true, .split_nbytes = 16});
  CHECK(result.assignment.pieces.empty());
  CHECK(std::all_of(result.assignment.owners.begin(),
                    result.assignment.owners.end(),
                    [](uint32_t owner) { return owner == 0; }));
}

TEST_CASE("weights add up to no more than 64 bits count", "[balance]") {
  constexpr int64_t kMost = std::numeric_limits<int64_t>::max();
  CHECK(AddWeights(3, 4) == 7);
  CHECK(AddWeights(kMost - 1, 1) == kMost);
  CHECK(AddWeights(kMost, TorchWeight({int64_t{1} << 48}, 16)) == kMost);
}

TEST_CASE("thousands of replicas are balanced within one item", "[balance]") {
  std::vector<WriteItem> items;
  for (int i = 0; i < 3000; ++i) {
    items.push_back(Replica("t" + std::to_string(i), (1 + i % 40) * kMiB));
  }
  const std::vector<SavePlan> plans(64, PlanOf(items));
  const std::vector<int64_t> loads = Balance(plans).assignment.loads;
  const auto [least, most] = std::minmax_element(loads.begin(), loads.end());
  CHECK(*most - *least <= kMiB);
}

}  // namespace
}  // namespace dcp
