// Reading tensor items of any torch version.

#ifndef DCP_FORMAT_TORCH_ITEM_READER_H_
#define DCP_FORMAT_TORCH_ITEM_READER_H_

#include <cstddef>
#include <cstdint>
#include <span>
#include <string>
#include <string_view>
#include <vector>

#include "dcp/dims.h"
#include "dcp/dtype.h"
#include "dcp/status.h"
#include "format/zip_reader.h"

namespace dcp {

/// What a stored tensor is and where its data lies.
struct TensorItemInfo {
  DType dtype = DType::kFloat32;
  Dims sizes;
  Dims strides;                ///< elements; not always row-major
  int64_t storage_offset = 0;  ///< elements, from data_offset
  int64_t data_offset = 0;     ///< bytes from the item's start
  int64_t data_nbytes = 0;     ///< the whole storage
  uint32_t data_crc32 = 0;     ///< of the storage; 0: not recorded
  bool conj = false;           ///< the values are the conjugates of the bytes
  bool neg = false;            ///< the values are the negatives of the bytes
  /// Only torch can rebuild the object (a quantized tensor, a subclass, a
  /// big-endian one, no tensor); the other fields mean nothing.
  bool needs_torch = false;
};

/// Finds the data of the tensor item of `length` bytes that `source` serves.
///
/// Reads the last 4 KiB, the first 2 KiB and, if those are not enough, what is
/// missing: never the data. All ranges are checked; data.pkl against its CRC.
/// \error kDataLoss  the item is damaged
/// \error kUnimplemented  it is a safetensors file
/// Errors of `source` are returned as they are.
StatusOr<TensorItemInfo> ParseTensorItem(ItemSource& source, int64_t length);

/// Whether an item may begin like this. Tells what is no archive by its first
/// bytes.
bool MayBeTorchItem(std::string_view begin);

/// A record of an item: bytes that a CRC-32 covers.
struct ItemRecord {
  std::string name;    ///< printable
  int64_t offset = 0;  ///< bytes from the item's start
  int64_t nbytes = 0;
  uint32_t crc32 = 0;  ///< 0: not recorded
};

/// The records of the item that `item` serves, by offset. Their local headers
/// agree with the directory, which has at most `max_directory_nbytes`.
/// \error kDataLoss  not an archive of torch.save
/// \error kUnimplemented  a safetensors file
StatusOr<std::vector<ItemRecord>> ListItemRecords(ItemReader& item,
                                                  int64_t max_directory_nbytes);

/// Checks the CRC-32 of every record of a whole item in memory. Records
/// without one (torch.serialization.set_crc32_options(False)) pass.
/// \error kDataLoss  names the record that does not match
Status VerifyItemCrcs(std::span<const std::byte> item);

}  // namespace dcp

#endif  // DCP_FORMAT_TORCH_ITEM_READER_H_
