#include "base/dequantize.h"

#include <algorithm>
#include <array>
#include <cmath>

#include "base/cast.h"

namespace dcp {
namespace {

constexpr std::array<float, 16> kFp4 = {
    0.0F,  0.5F,  1.0F,  1.5F,  2.0F,  3.0F,  4.0F,  6.0F,
    -0.0F, -0.5F, -1.0F, -1.5F, -2.0F, -3.0F, -4.0F, -6.0F};

/// 2^(scale - 127) as torch.pow has it: infinite for 255.
float PowerOfScale(std::byte scale) {
  return std::ldexp(1.0F, std::to_integer<int>(scale) - 127);
}

}  // namespace

void DequantizeBlocks(DType dtype, const std::byte* stored,
                      const BlockScales& scales, int64_t begin,
                      std::span<float> out) {
  CastElements(dtype, stored, DType::kFloat32,
               reinterpret_cast<std::byte*>(out.data()), std::ssize(out));
  const int64_t end = begin + std::ssize(out);
  float* element = out.data();
  for (int64_t at = begin; at < end;) {
    const int64_t row = at / scales.columns;
    const int64_t column = at % scales.columns;
    const int64_t block = column / scales.block_size;
    // As far as the block, the row and the data go.
    const int64_t count = std::min({(block + 1) * scales.block_size - column,
                                    scales.columns - column, end - at});
    const int64_t row_block = row / scales.block_size - scales.first_row_block;
    const float scale = scales.values[static_cast<size_t>(
        row_block * scales.column_blocks() + block)];
    for (int64_t i = 0; i < count; ++i) element[i] *= scale;
    element += count;
    at += count;
  }
}

void DequantizeMxfp4(std::span<const std::byte> stored, int64_t begin,
                     std::span<const std::byte> scales, int64_t first_group,
                     int64_t group_nbytes, std::span<float> out) {
  float* element = out.data();
  const int64_t end = begin + std::ssize(stored);
  const std::byte* next = stored.data();
  for (int64_t at = begin; at < end;) {
    const int64_t group = at / group_nbytes;
    const int64_t group_end = std::min(end, (group + 1) * group_nbytes);
    const float power =
        PowerOfScale(scales[static_cast<size_t>(group - first_group)]);
    std::array<float, 16> values = kFp4;
    for (float& value : values) value *= power;
    for (; at < group_end; ++at, ++next, element += 2) {
      const auto byte = std::to_integer<size_t>(*next);
      element[0] = values[byte & 0xF];
      element[1] = values[byte >> 4];
    }
  }
}

}  // namespace dcp
