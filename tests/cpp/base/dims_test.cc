#include "dcp/dims.h"

#include <catch2/catch.hpp>
#include <limits>

namespace dcp {
namespace {

TEST_CASE("Dims keeps its values inline and on the heap", "[dims]") {
  for (int ndim : {0, 1, Dims::kInlineDims, Dims::kInlineDims + 1, 64}) {
    Dims dims;
    for (int d = 0; d < ndim; ++d) dims.push_back(d * 10);
    REQUIRE(dims.size() == ndim);
    Dims copy = dims;
    Dims moved = std::move(copy);
    CHECK(moved == dims);
    for (int d = 0; d < ndim; ++d) CHECK(moved[d] == d * 10);
    copy = moved;
    CHECK(copy == dims);
    CHECK(Dims(dims.span()) == dims);
  }
  CHECK(Dims{1, 2} < Dims{1, 3});
  CHECK(Dims{1} < Dims{1, 0});
}

TEST_CASE("CheckedNumel refuses negative sizes and overflow", "[dims]") {
  CHECK(CheckedNumel({}) == 1);
  CHECK(CheckedNumel({2, 3, 4}) == 24);
  CHECK(CheckedNumel({2, 0, 4}) == 0);
  CHECK(CheckedNumel({-1}) == std::nullopt);
  CHECK(CheckedNumel({0, -1}) == std::nullopt);
  const int64_t big = int64_t{1} << 32;
  CHECK(CheckedNumel({big, big}) == std::nullopt);
  CHECK(CheckedNumel({big, big, 0}) == std::nullopt);
}

TEST_CASE("boxes intersect and lie in bounds", "[dims]") {
  const Box a{.offsets = {0, 2}, .sizes = {4, 3}};
  const Box b{.offsets = {3, 0}, .sizes = {4, 3}};
  CHECK(Intersect(a, b) == Box{.offsets = {3, 2}, .sizes = {1, 1}});
  CHECK(Intersect(a, Box{.offsets = {4, 2}, .sizes = {1, 1}}) == std::nullopt);
  CHECK(Intersect(Box{}, Box{}) == Box{});
  CHECK(InBounds({4, 5}, a));
  CHECK_FALSE(InBounds({4, 4}, a));
  CHECK_FALSE(InBounds({4}, a));
  const int64_t max = std::numeric_limits<int64_t>::max();
  CHECK_FALSE(InBounds({10}, Box{.offsets = {max}, .sizes = {max}}));
}

TEST_CASE("contiguous strides are torch's", "[dims]") {
  CHECK(ContiguousStrides({2, 3, 4}) == Dims{12, 4, 1});
  CHECK(ContiguousStrides({2, 0, 4}) == Dims{4, 4, 1});
  CHECK(ContiguousStrides({}) == Dims{});
}

}  // namespace
}  // namespace dcp
