#include "base/dequantize.h"

#include <catch2/catch.hpp>
#include <cmath>
#include <random>
#include <vector>

#include "base/cast.h"

namespace dcp {
namespace {

constexpr int64_t kRows = 5;
constexpr int64_t kColumns = 7;
constexpr int64_t kBlock = 3;

std::vector<std::byte> RandomBytes(size_t count) {
  std::mt19937 random(7);
  std::vector<std::byte> bytes(count);
  for (std::byte& byte : bytes) byte = static_cast<std::byte>(random() % 120);
  return bytes;
}

float Float8(std::byte byte) {
  float value = 0;
  CastElements(DType::kFloat8E4M3FN, &byte, DType::kFloat32,
               reinterpret_cast<std::byte*>(&value), 1);
  return value;
}

TEST_CASE("each element has the scale of its block, in any piece of the matrix",
          "[base]") {
  const auto stored = RandomBytes(kRows * kColumns);
  BlockScales scales{.block_size = kBlock, .columns = kColumns};
  REQUIRE(scales.column_blocks() == 3);
  for (int i = 0; i < 6; ++i) {
    scales.values.push_back(0.37F * static_cast<float>(i + 1));
  }
  const int64_t numel = kRows * kColumns;
  for (int64_t begin = 0; begin < numel; ++begin) {
    for (int64_t end = begin; end <= numel; ++end) {
      std::vector<float> out(static_cast<size_t>(end - begin));
      DequantizeBlocks(DType::kFloat8E4M3FN, stored.data() + begin, scales,
                       begin, out);
      for (int64_t i = begin; i < end; ++i) {
        const int64_t block = i / kColumns / kBlock * 3 + i % kColumns / kBlock;
        const float expected = Float8(stored[static_cast<size_t>(i)]) *
                               scales.values[static_cast<size_t>(block)];
        REQUIRE(out[static_cast<size_t>(i - begin)] == expected);
      }
    }
  }
}

TEST_CASE("scales of rows of blocks before what is read may be left out",
          "[base]") {
  const auto stored = RandomBytes(kRows * kColumns);
  const BlockScales last{.block_size = kBlock,
                         .columns = kColumns,
                         .first_row_block = 1,
                         .values = {2, 3, 4}};
  std::vector<float> out(1);
  DequantizeBlocks(DType::kFloat8E4M3FN, &stored[34], last, 34, out);
  CHECK(out[0] == Float8(stored[34]) * 4);
}

TEST_CASE("MXFP4 has the low half of a byte first", "[base]") {
  const std::vector<std::byte> stored = {std::byte{0x21}, std::byte{0xF9},
                                         std::byte{0x70}, std::byte{0x8A}};
  const std::vector<std::byte> scales = {std::byte{128}, std::byte{126}};
  std::vector<float> out(8);
  DequantizeMxfp4(stored, 0, scales, 0, 2, out);
  CHECK(out == std::vector<float>{1, 2, -1, -12, 0, 3, -0.5F, -0.0F});
  CHECK(std::signbit(out[7]));
  SECTION("from any byte on") {
    std::vector<float> part(4);
    DequantizeMxfp4(std::span(stored).subspan(1, 2), 1, scales, 0, 2, part);
    CHECK(part == std::vector<float>{-1, -12, 0, 3});
    DequantizeMxfp4(std::span(stored).subspan(2, 2), 2,
                    std::span(scales).subspan(1), 1, 2, part);
    CHECK(part == std::vector<float>{0, 3, -0.5F, -0.0F});
  }
}

TEST_CASE("MXFP4's largest exponent is infinite, as in torch", "[base]") {
  const std::vector<std::byte> stored = {std::byte{0x10}};
  const std::vector<std::byte> scales = {std::byte{255}};
  std::vector<float> out(2);
  DequantizeMxfp4(stored, 0, scales, 0, 1, out);
  CHECK(std::isnan(out[0]));  // 0 * inf
  CHECK(std::isinf(out[1]));
}

}  // namespace
}  // namespace dcp
