#include "checkpoint/tensor_pieces.h"

#include <catch2/catch.hpp>
#include <random>

namespace dcp {
namespace {

/// Elements before `offset` in row-major order.
int64_t RowMajorPlace(const Dims& sizes, const Dims& offset) {
  const Dims strides = ContiguousStrides(sizes);
  int64_t place = 0;
  for (int d = 0; d < sizes.size(); ++d) place += offset[d] * strides[d];
  return place;
}

TEST_CASE("a tensor that fits is one piece", "[checkpoint]") {
  for (const Dims& sizes : {Dims{}, Dims{0, 7}, Dims{3}, Dims{4, 4}}) {
    CHECK(CutIntoPieces(sizes, 4, 64) == std::vector{WholeBox(sizes)});
  }
}

TEST_CASE("pieces are whole rows where a row fits", "[checkpoint]") {
  CHECK(CutIntoPieces({5, 4}, 4, 40) ==
        std::vector<Box>{{{0, 0}, {2, 4}}, {{2, 0}, {2, 4}}, {{4, 0}, {1, 4}}});
}

TEST_CASE("a row that does not fit is cut", "[checkpoint]") {
  CHECK(CutIntoPieces({2, 5}, 4, 12) == std::vector<Box>{{{0, 0}, {1, 3}},
                                                         {{0, 3}, {1, 2}},
                                                         {{1, 0}, {1, 3}},
                                                         {{1, 3}, {1, 2}}});
}

TEST_CASE("pieces follow each other without gaps, and are small enough",
          "[checkpoint]") {
  std::mt19937 random(7);
  for (int trial = 0; trial < 300; ++trial) {
    Dims sizes;
    const int ndim = static_cast<int>(random() % 5);
    for (int d = 0; d < ndim; ++d) {
      sizes.push_back(static_cast<int64_t>(random() % 6));
    }
    const int64_t itemsize = int64_t{1} << (random() % 4);
    const auto limit = static_cast<int64_t>(8 + random() % 100);
    int64_t done = 0;
    for (const Box& piece : CutIntoPieces(sizes, itemsize, limit)) {
      INFO(ToString(sizes) << " " << ToString(piece) << " " << limit);
      REQUIRE(InBounds(sizes, piece));
      if (Numel(sizes) > 0) {
        REQUIRE(RowMajorPlace(sizes, piece.offsets) == done);
      }
      REQUIRE(piece.numel() * itemsize <= limit);
      done += piece.numel();
    }
    REQUIRE(done == Numel(sizes));
  }
}

}  // namespace
}  // namespace dcp
