// Tensor items of `.distcp` files: the bytes that torch.save writes, known
// before the data is.
//
// An item is a zip archive. Its data record is the tensor, row-major; what
// stands before it (prefix) depends on the layout alone, what follows (suffix)
// also on the data's CRC-32. A writer places the items, puts prefixes, data and
// suffixes into a file image in any order, and writes the image.

#ifndef DCP_FORMAT_TORCH_ITEM_H_
#define DCP_FORMAT_TORCH_ITEM_H_

#include <cstddef>
#include <cstdint>
#include <span>

#include "dcp/dims.h"
#include "dcp/dtype.h"
#include "dcp/status.h"

namespace dcp {

/// A tensor to be stored: contiguous, without gradient.
struct TensorItemSpec {
  DType dtype = DType::kFloat32;
  Dims sizes;
};

/// Offsets in bytes from the start of the item.
struct TensorItemLayout {
  int64_t data_offset = 0;
  int64_t data_nbytes = 0;
  int64_t length = 0;
  bool operator==(const TensorItemLayout&) const = default;
};

/// Items start at multiples of this in their file.
inline constexpr int64_t kItemAlignment = 64;
/// Data of kLargeItemNbytes and more starts at multiples of this in the file,
/// so that it can be read by direct I/O into its place.
inline constexpr int64_t kLargeDataAlignment = 4096;
inline constexpr int64_t kLargeItemNbytes = int64_t{64} << 10;

/// The first offset from `offset` on where an item may start.
constexpr int64_t AlignItemOffset(int64_t offset) {
  return (offset + kItemAlignment - 1) / kItemAlignment * kItemAlignment;
}

/// The layout of the item when it starts at `item_offset` of its file.
/// \error kInvalidArgument  `item_offset` is not aligned, or the sizes are
///     impossible
/// \error kUnimplemented  a quantized dtype: its parameters are torch's own
StatusOr<TensorItemLayout> LayoutTensorItem(const TensorItemSpec& spec,
                                            int64_t item_offset);

/// Writes the item's first `layout.data_offset` bytes; `out` has that size.
/// `layout` is what LayoutTensorItem(spec, item_offset) returned.
void RenderItemPrefix(const TensorItemSpec& spec,
                      const TensorItemLayout& layout, int64_t item_offset,
                      std::span<std::byte> out);

/// Writes what follows the data; `out` has the size
/// ItemSuffixNbytes(layout). `data_crc32` is the CRC-32 of the data.
void RenderItemSuffix(const TensorItemSpec& spec,
                      const TensorItemLayout& layout, uint32_t data_crc32,
                      std::span<std::byte> out);

constexpr int64_t ItemSuffixNbytes(const TensorItemLayout& layout) {
  return layout.length - layout.data_offset - layout.data_nbytes;
}

}  // namespace dcp

#endif  // DCP_FORMAT_TORCH_ITEM_H_
