#include "storage/file_assignment.h"

#include <algorithm>
#include <catch2/catch.hpp>
#include <set>
#include <string>
#include <vector>

#include "plan/plan_cases.h"

namespace dcp {
namespace {

std::vector<std::vector<std::string>> NamesOf(
    const SavePlan& plan, const FileSystemWriterOptions& options) {
  std::vector<std::vector<std::string>> names;
  for (const auto& file : AssignToFiles(plan, options)) {
    names.emplace_back();
    for (const WriteItem* item : file) names.back().push_back(item->fqn);
  }
  return names;
}

using Names = std::vector<std::vector<std::string>>;

TEST_CASE("one file holds the objects, then the tensors as planned",
          "[storage]") {
  const SavePlan plan = PlanOf({WholeItem("small", {2}), ObjectItem("x", 10),
                                WholeItem("large", {100}), ObjectItem("y", 9)});
  CHECK(NamesOf(plan, {}) == Names{{"x", "y", "small", "large"}});
  CHECK(NamesOf(plan, {.single_file_per_rank = false}) ==
        Names{{"small"}, {"x"}, {"large"}, {"y"}});
}

TEST_CASE("several files share the bytes, the largest tensors first",
          "[storage]") {
  const SavePlan plan =
      PlanOf({WholeItem("a", {10}), WholeItem("b", {40}), WholeItem("c", {30}),
              WholeItem("d", {20}), ObjectItem("x", 10), ObjectItem("y", 10)});
  CHECK(NamesOf(plan, {.file_count = 2}) ==
        Names{{"x", "b", "a"}, {"y", "c", "d"}});
}

TEST_CASE("every item is in one file, no file is empty", "[storage]") {
  Random random(1);
  for (int round = 0; round < 100; ++round) {
    std::vector<WriteItem> items;
    for (int64_t i = random.Between(0, 20); i > 0; --i) {
      const std::string fqn = std::to_string(i);
      items.push_back(random.OneIn(3)
                          ? ObjectItem(fqn, random.Between(0, 99))
                          : WholeItem(fqn, {random.Between(0, 99)}));
    }
    const SavePlan plan = PlanOf(std::move(items));
    const auto files = AssignToFiles(
        plan, {.single_file_per_rank = !random.OneIn(5),
               .file_count = static_cast<int>(random.Between(0, 5))});
    std::multiset<const WriteItem*> assigned;
    for (const auto& file : files) {
      CHECK_FALSE(file.empty());
      assigned.insert(file.begin(), file.end());
    }
    std::multiset<const WriteItem*> planned;
    for (const WriteItem& item : plan.items) planned.insert(&item);
    CHECK(assigned == planned);
  }
}

}  // namespace
}  // namespace dcp
