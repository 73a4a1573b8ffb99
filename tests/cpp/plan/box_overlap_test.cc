#include "plan/box_overlap.h"

#include <catch2/catch.hpp>
#include <optional>
#include <vector>

#include "plan/plan_cases.h"

namespace dcp {
namespace {

bool AnyPairOverlaps(const std::vector<Box>& boxes) {
  for (size_t i = 0; i < boxes.size(); ++i) {
    for (size_t j = i + 1; j < boxes.size(); ++j) {
      if (Intersect(boxes[i], boxes[j])) return true;
    }
  }
  return false;
}

void CheckAgainstAllPairs(const std::vector<Box>& boxes) {
  const auto found = FindOverlap(boxes);
  REQUIRE(found.has_value() == AnyPairOverlaps(boxes));
  if (!found) return;
  CHECK(found->first != found->second);
  CHECK(Intersect(boxes[found->first], boxes[found->second]).has_value());
}

TEST_CASE("an overlap is found if and only if there is one", "[overlap]") {
  Random random(1);
  int overlapping = 0;
  const int trials = 3000;
  for (int trial = 0; trial < trials; ++trial) {
    const Dims sizes = random.Sizes(4, random.OneIn(2) ? 60 : 8);
    std::vector<Box> boxes = RandomPartition(
        &random, sizes, static_cast<int>(random.Between(1, 120)));
    // Mostly one box is moved or grown, rarely all are random.
    if (random.OneIn(2) && Numel(sizes) > 0) {
      const auto i = static_cast<size_t>(
          random.Between(0, static_cast<int64_t>(boxes.size()) - 1));
      boxes[i] = random.PartOf(sizes);
    }
    CheckAgainstAllPairs(boxes);
    overlapping += AnyPairOverlaps(boxes) ? 1 : 0;
  }
  // Both outcomes must have been tried.
  CHECK(overlapping > trials / 10);
  CHECK(overlapping < trials * 9 / 10);
}

TEST_CASE("an overlap is found where no straight cut separates the boxes",
          "[overlap]") {
  Random random(2);
  for (const auto& layout :
       {SpiralChunks(20), LatticeChunks(12), StaircaseChunks(40)}) {
    CheckAgainstAllPairs(layout);
    for (int trial = 0; trial < 200; ++trial) {
      std::vector<Box> boxes = layout;
      std::shuffle(boxes.begin(), boxes.end(), random.engine);
      const auto i = static_cast<size_t>(
          random.Between(0, static_cast<int64_t>(boxes.size()) - 1));
      const int dim = static_cast<int>(random.Between(0, boxes[i].ndim() - 1));
      if (random.OneIn(2) && boxes[i].offsets[dim] > 0) --boxes[i].offsets[dim];
      boxes[i].sizes[dim] += random.Between(0, 1);
      CheckAgainstAllPairs(boxes);
    }
  }
}

TEST_CASE("scalars and equal boxes overlap, empty boxes do not", "[overlap]") {
  CHECK_FALSE(FindOverlap({}).has_value());
  CHECK_FALSE(FindOverlap(std::vector<Box>{Box{}}).has_value());
  CHECK(FindOverlap(std::vector<Box>{Box{}, Box{}}).has_value());
  const Box row{.offsets = {1, 0}, .sizes = {1, 4}};
  CHECK(FindOverlap(std::vector<Box>{row, row}).has_value());
  const Box empty{.offsets = {1, 2}, .sizes = {0, 4}};
  CHECK_FALSE(FindOverlap(std::vector<Box>{row, empty, empty}).has_value());
}

// What compared all pairs would not end within the test's time.
TEST_CASE("a million boxes are compared", "[overlap]") {
  struct Layout {
    const char* name;
    std::vector<Box> boxes;
  };
  const Layout layouts[] = {
      {"1,000,000 tiles", GridChunks({1000, 1000}, {1, 1})},
      {"spiral", SpiralChunks(25'000)},
      {"lattice", LatticeChunks(366)},
      {"staircase", StaircaseChunks(50'000)},
  };
  for (const Layout& layout : layouts) {
    std::vector<Box> shuffled = layout.boxes;
    Random random(3);
    std::shuffle(shuffled.begin(), shuffled.end(), random.engine);
    INFO(layout.name << ": " << shuffled.size() << " boxes");
    CHECK_FALSE(FindOverlap(shuffled).has_value());
  }
}

}  // namespace
}  // namespace dcp
