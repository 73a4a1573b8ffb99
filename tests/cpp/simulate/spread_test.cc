#include "simulate/spread.h"

#include <catch2/catch.hpp>
#include <numeric>
#include <vector>

namespace dcp {
namespace {

TEST_CASE("a spread tells of values that are there", "[simulate]") {
  std::vector<double> values(200);
  std::iota(values.rbegin(), values.rend(), 1.0);
  const Spread spread = SpreadOf(values);
  CHECK(spread.least == 1);
  CHECK(spread.median == 100);
  CHECK(spread.p99 == 198);
  CHECK(spread.most == 200);
  CHECK(spread.mean == 100.5);
}

TEST_CASE("one value is all of its spread, and none are zeros", "[simulate]") {
  const Spread one = SpreadOf({7});
  CHECK(one.least == 7);
  CHECK(one.median == 7);
  CHECK(one.p99 == 7);
  CHECK(one.most == 7);
  CHECK(SpreadOf({}).mean == 0);
}

}  // namespace
}  // namespace dcp
