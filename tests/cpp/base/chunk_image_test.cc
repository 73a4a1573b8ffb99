#include "base/chunk_image.h"

#include <algorithm>
#include <catch2/catch.hpp>
#include <numeric>
#include <vector>

#include "base/tensor_cases.h"

namespace dcp {
namespace {

/// The runs of `part`, element by element.
std::vector<ByteRun> RunsByElement(const ChunkImage& image, const Box& part) {
  std::vector<ByteRun> runs;
  const int64_t itemsize = ItemSize(image.dtype);
  for (int64_t element = 0; element < Numel(image.sizes); ++element) {
    if (!Contains(part, IndexOfElement(element, image.sizes))) continue;
    const int64_t at = element * itemsize;
    if (!runs.empty() && runs.back().byte_begin + runs.back().nbytes == at) {
      runs.back().nbytes += itemsize;
    } else {
      runs.push_back({.byte_begin = at, .nbytes = itemsize});
    }
  }
  return runs;
}

std::vector<ByteRun> RunsOf(const ChunkImage& image, const Box& part) {
  std::vector<ByteRun> runs;
  ForEachRun(image, part, [&](ByteRun run) { runs.push_back(run); });
  return runs;
}

TEST_CASE("runs of a part are maximal and ascending", "[chunk_image]") {
  Random random(1);
  for (int trial = 0; trial < 1000; ++trial) {
    const ChunkImage image{.dtype = random.Pick({DType::kInt8, DType::kFloat32,
                                                 DType::kComplex128}),
                           .sizes = random.Sizes(6, 5)};
    const Box part = random.PartOf(image.sizes);
    INFO(ToString(image.sizes) << " part " << ToString(part));
    const std::vector<ByteRun> expected = RunsByElement(image, part);
    REQUIRE(RunsOf(image, part) == expected);
    REQUIRE(IsOneRun(image, part) == (expected.size() <= 1));
  }
}

TEST_CASE("a scalar is one run", "[chunk_image]") {
  const ChunkImage scalar{.dtype = DType::kFloat64, .sizes = {}};
  CHECK(RunsOf(scalar, Box{}) == std::vector<ByteRun>{{0, 8}});
  CHECK(IsOneRun(scalar, Box{}));
}

TEST_CASE("dense memory orders are found", "[chunk_image]") {
  using Order = std::vector<int>;
  CHECK(DenseOrder({}, {}) == Order{});
  CHECK(DenseOrder({4, 3}, {3, 1}) == Order{0, 1});
  CHECK(DenseOrder({4, 3}, {1, 4}) == Order{1, 0});
  // channels_last
  CHECK(DenseOrder({2, 3, 4, 5}, {60, 1, 15, 3}) == Order{0, 2, 3, 1});
  // Dimensions of size 1 may have any stride.
  CHECK(DenseOrder({4, 1, 3}, {3, 77, 1}) == Order{0, 1, 2});
  CHECK(DenseOrder({4, 1, 3}, {1, -5, 4}) == Order{2, 1, 0});
  CHECK(DenseOrder({2, 0, 4}, {9, 9, 9}) == Order{0, 1, 2});
}

TEST_CASE("tensors with gaps or overlaps have no dense order",
          "[chunk_image]") {
  CHECK(DenseOrder({4, 3}, {4, 1}) == std::nullopt);   // gaps
  CHECK(DenseOrder({4, 3}, {0, 1}) == std::nullopt);   // expanded
  CHECK(DenseOrder({4, 3}, {1, 1}) == std::nullopt);   // overlapping
  CHECK(DenseOrder({4, 3}, {-3, 1}) == std::nullopt);  // reversed
  CHECK(DenseOrder({4}, {2}) == std::nullopt);
}

TEST_CASE("a dense order makes any permuted tensor contiguous",
          "[chunk_image]") {
  Random random(2);
  for (int trial = 0; trial < 1000; ++trial) {
    Dims sizes = random.Sizes(6, 4);
    for (int64_t& size : sizes) size = std::max<int64_t>(size, 1);
    std::vector<int> shuffled(static_cast<size_t>(sizes.size()));
    std::iota(shuffled.begin(), shuffled.end(), 0);
    std::shuffle(shuffled.begin(), shuffled.end(), random.engine);
    int element = 0;
    const TensorView view =
        Permute(ContiguousView(&element, DType::kInt32, sizes), shuffled);
    const auto order = DenseOrder(view.sizes, view.strides);
    REQUIRE(order.has_value());
    CHECK(Permute(view, *order).is_contiguous());
    const Box box{.offsets = view.strides, .sizes = view.sizes};
    CHECK(Permute(box, *order) == Box{.offsets = Permute(view.strides, *order),
                                      .sizes = Permute(view.sizes, *order)});
  }
}

}  // namespace
}  // namespace dcp
