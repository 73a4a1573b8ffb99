// Quantized weights as Hugging Face checkpoints have them, back to floats.
//
// Two kinds, with torch 2.13's arithmetic (quantized_hf_storage.py):
// - block scales (DeepSeek-V3): a matrix of 8-bit floats and a smaller one with
//   a scale for each block of block_size x block_size elements.
//   value = float32(element) * float32(scale)
// - MXFP4 (gpt-oss): bytes of two 4-bit floats, the low one first, and a scale
//   byte, an exponent with the bias 127, for each group of bytes.
//   value = element * 2^(scale - 127)

#ifndef DCP_BASE_DEQUANTIZE_H_
#define DCP_BASE_DEQUANTIZE_H_

#include <cstddef>
#include <cstdint>
#include <span>
#include <vector>

#include "dcp/dtype.h"

namespace dcp {

/// The scales of some rows of blocks of a matrix.
struct BlockScales {
  int64_t block_size = 128;
  int64_t columns = 0;          ///< of the matrix
  int64_t first_row_block = 0;  ///< the rows of blocks before it are left out
  std::vector<float> values;    ///< row-major

  int64_t column_blocks() const {
    return (columns + block_size - 1) / block_size;
  }
};

/// Makes float32 of elements [begin, begin + out.size()) of a row-major matrix
/// of `dtype`, one byte each, which are at `stored`. `scales` has theirs.
void DequantizeBlocks(DType dtype, const std::byte* stored,
                      const BlockScales& scales, int64_t begin,
                      std::span<float> out);

/// Makes float32 of the 2 * stored.size() elements in `stored`, of which the
/// first byte is number `begin` of its tensor. `scales` begins with that of
/// group number `first_group`; a group has `group_nbytes` bytes.
void DequantizeMxfp4(std::span<const std::byte> stored, int64_t begin,
                     std::span<const std::byte> scales, int64_t first_group,
                     int64_t group_nbytes, std::span<float> out);

}  // namespace dcp

#endif  // DCP_BASE_DEQUANTIZE_H_
