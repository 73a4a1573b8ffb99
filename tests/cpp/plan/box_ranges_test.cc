#include "plan/box_ranges.h"

#include <algorithm>
#include <catch2/catch.hpp>
#include <vector>

#include "plan/plan_cases.h"

namespace dcp {
namespace {

/// The positions in the tensor of the box's elements, in order.
std::vector<int64_t> PositionsOf(const Dims& sizes, const Box& box) {
  std::vector<int64_t> positions;
  for (int64_t p = 0; p < Numel(sizes); ++p) {
    int64_t rest = p;
    bool inside = true;
    for (int d = sizes.size(); d-- > 0;) {
      const int64_t index = rest % sizes[d];
      rest /= sizes[d];
      inside = inside && index >= box.offsets[d] &&
               index < box.offsets[d] + box.sizes[d];
    }
    if (inside) positions.push_back(p);
  }
  return positions;
}

struct Case {
  Dims sizes;
  Box box;
};

std::vector<Case> RandomCases(int count) {
  Random random(20);
  std::vector<Case> cases = {{{}, {}}, {{5}, {.offsets = {5}, .sizes = {0}}}};
  for (int i = 0; i < count; ++i) {
    Dims sizes;
    const int64_t ndim = random.Between(1, 4);
    for (int64_t d = 0; d < ndim; ++d) sizes.push_back(random.Between(0, 6));
    for (Box& box : RandomPartition(&random, sizes, 4)) {
      cases.push_back({sizes, std::move(box)});
    }
  }
  return cases;
}

TEST_CASE("the elements of a box before a position are counted",
          "[plan][box_ranges]") {
  for (const Case& c : RandomCases(300)) {
    const std::vector<int64_t> positions = PositionsOf(c.sizes, c.box);
    CAPTURE(ToString(c.sizes), ToString(c.box));
    for (int64_t p = 0; p <= Numel(c.sizes); ++p) {
      const auto before =
          std::lower_bound(positions.begin(), positions.end(), p) -
          positions.begin();
      REQUIRE(CountBefore(c.sizes, c.box, p) == before);
    }
  }
}

TEST_CASE("runs of a box are its elements in order, and as long as can be",
          "[plan][box_ranges]") {
  for (const Case& c : RandomCases(300)) {
    const std::vector<int64_t> positions = PositionsOf(c.sizes, c.box);
    const auto numel = static_cast<int64_t>(positions.size());
    CAPTURE(ToString(c.sizes), ToString(c.box));
    for (int64_t begin = 0; begin <= numel; ++begin) {
      int64_t next = begin;
      int64_t last = -2;
      ForEachRunOf(c.sizes, c.box, begin, numel, [&](const BoxRun& run) {
        REQUIRE(run.in_box == next);
        REQUIRE(run.count > 0);
        for (int64_t i = 0; i < run.count; ++i) {
          REQUIRE(positions[static_cast<size_t>(next + i)] == run.position + i);
        }
        // Two runs that touch are one, within a row of the outermost dimension
        // that is cut.
        CHECK(run.position > last);
        last = run.position + run.count - 1;
        next += run.count;
      });
      REQUIRE(next == numel);
    }
  }
}

}  // namespace
}  // namespace dcp
