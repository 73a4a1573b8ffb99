#include "plan/plan_share.h"

#include <catch2/catch.hpp>
#include <string>

#include "plan/plan_cases.h"

namespace dcp {
namespace {

using Catch::Matchers::Contains;

PlanShare RandomShare(Random* random) {
  PlanShare share{.item_count = static_cast<uint32_t>(random->Between(0, 90))};
  const int64_t density = random->Between(1, 5);
  for (uint32_t item = 0; item < share.item_count; ++item) {
    if (random->OneIn(8)) {
      share.pieces.push_back({.item = item,
                              .row_begin = random->Between(0, 1000),
                              .rows = random->Between(0, 1000)});
    } else if (!random->OneIn(density + 1)) {
      if (share.whole.empty() || share.whole.back().end != item) {
        share.whole.push_back({.begin = item, .end = item});
      }
      ++share.whole.back().end;
    }
  }
  return share;
}

TEST_CASE("a share comes back as it was sent", "[share]") {
  Random random(1);
  for (int trial = 0; trial < 3000; ++trial) {
    const PlanShare share = RandomShare(&random);
    const std::string bytes = SerializePlanShare(share);
    const StatusOr<PlanShare> parsed = ParsePlanShare(bytes);
    INFO(Message(parsed.status()));
    REQUIRE(parsed.ok());
    REQUIRE(*parsed == share);
  }
}

TEST_CASE("garbled shares are refused or fit no plan, never trusted",
          "[share]") {
  Random random(2);
  SavePlan plan = PlanOf(std::vector<WriteItem>(
      40, TensorItem("w", {9, 2}, {.offsets = {0, 0}, .sizes = {9, 2}})));
  int refused = 0;
  for (int trial = 0; trial < 20'000; ++trial) {
    PlanShare share = RandomShare(&random);
    std::string bytes = SerializePlanShare(share);
    const auto at = static_cast<size_t>(
        random.Between(0, static_cast<int64_t>(bytes.size()) - 1));
    if (random.OneIn(2)) {
      bytes[at] = static_cast<char>(bytes[at] ^ (1 << random.Between(0, 7)));
    } else {
      bytes.resize(at);
    }
    const StatusOr<PlanShare> parsed = ParsePlanShare(bytes);
    const Status status =
        parsed.ok() ? ApplyShare(*parsed, plan).status() : parsed.status();
    if (status.ok()) continue;
    ++refused;
    REQUIRE((status.code() == absl::StatusCode::kDataLoss ||
             status.code() == absl::StatusCode::kFailedPrecondition));
  }
  CHECK(refused > 10'000);
}

TEST_CASE("a share gives whole items and rows of others", "[share]") {
  SavePlan local = PlanOf({WholeItem("a", {4, 2}), ObjectItem("b", 9),
                           WholeItem("c", {}), WholeItem("d", {8})});
  local.ties.emplace("a", "d");
  const PlanShare share{.item_count = 4,
                        .whole = {{.begin = 1, .end = 2}},
                        .pieces = {{.item = 0, .row_begin = 1, .rows = 2}}};
  const StatusOr<SavePlan> mine = ApplyShare(share, local);
  REQUIRE(mine.ok());
  REQUIRE(mine->items.size() == 2);
  CHECK(mine->items[0].type == WriteItemType::kShard);
  CHECK(mine->items[0].chunk == Box{.offsets = {1, 0}, .sizes = {2, 2}});
  CHECK(mine->items[0].nbytes == 16);
  CHECK(mine->items[0].source == 0);
  CHECK(mine->items[1] == local.items[1]);
  CHECK(mine->ties == local.ties);
}

TEST_CASE("a share of another plan is refused by name", "[share]") {
  const SavePlan local = PlanOf({WholeItem("a", {4, 2}), ObjectItem("b", 9)});
  const auto refusal = [&](const PlanShare& share) {
    return std::string(Message(ApplyShare(share, local).status()));
  };
  CHECK_THAT(refusal({.item_count = 3}),
             Contains("plan of 2 items") && Contains("it is of 3 items"));
  CHECK_THAT(refusal({.item_count = 2, .pieces = {{.item = 0, .rows = 5}}}),
             Contains("other rows of a"));
  CHECK_THAT(refusal({.item_count = 2, .pieces = {{.item = 1, .rows = 1}}}),
             Contains("other rows of b"));
}

TEST_CASE("the share of thousands of items has hundreds of bytes", "[share]") {
  PlanShare share{.item_count = 2892};
  for (uint32_t item = 0; item < share.item_count; item += 4) {
    share.whole.push_back({.begin = item, .end = item + 3});
  }
  CHECK(SerializePlanShare(share).size() < 400);
  share.whole = {{.begin = 5, .end = 2800}};
  CHECK(SerializePlanShare(share).size() < 16);
}

}  // namespace
}  // namespace dcp
