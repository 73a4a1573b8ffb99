// StoredItem: one item of a checkpoint and what a load wants of it.

#ifndef DCP_STORAGE_STORED_ITEM_H_
#define DCP_STORAGE_STORED_ITEM_H_

#include <cstdint>
#include <span>
#include <string>
#include <string_view>
#include <vector>

#include "base/strided_copy.h"
#include "dcp/device_runtime.h"
#include "dcp/metadata.h"
#include "dcp/plan.h"
#include "dcp/status.h"
#include "dcp/storage.h"
#include "format/torch_item_reader.h"

namespace dcp {

/// The reads of a plan that concern one stored item.
struct StoredItem {
  MetadataIndex index;
  /// The checkpoint's, for messages; outlives the item.
  std::string_view directory;
  StorageInfo info;
  LoadItemType type = LoadItemType::kTensor;
  /// The chunk's shape and type by the metadata; tensors only.
  Dims sizes;
  DType dtype = DType::kFloat32;
  std::vector<const ReadItem*> reads;

  /// The file that holds the item, for messages.
  std::string path() const;
};

/// A read of a plan, and where the metadata says that its item lies. Both
/// outlive it.
struct LocatedRead {
  const ReadItem* read = nullptr;
  const StorageInfo* info = nullptr;
};

/// Finds the items of a plan's reads; in the order of files and offsets, the
/// reads of one item together.
/// \error kDataLoss  the metadata names an item and not where it lies, or
///     items that overlap
StatusOr<std::vector<LocatedRead>> LocateReads(const LoadPlan& plan,
                                               const Metadata& metadata,
                                               std::string_view directory);

/// The first reads, of at least `count` items if there are as many, without
/// parting those of one item.
std::span<const LocatedRead> ReadsOfFirstItems(
    std::span<const LocatedRead> reads, size_t count);

/// The items of some reads, with what `metadata` says of each.
std::vector<StoredItem> DescribeItems(std::span<const LocatedRead> reads,
                                      const Metadata& metadata,
                                      std::string_view directory);

/// Where the data of a tensor item lies and how to read it.
struct TensorPlace {
  int64_t data_begin = 0;  ///< file offset of the first element
  int64_t data_nbytes = 0;
  ChunkImage image;  ///< row-major, maybe in another order of dimensions
  /// Dimension i of the image is dimension order[i] of the tensor; empty if
  /// they are the same.
  std::vector<int> order;
  ElementOp op = ElementOp::kNone;
  uint32_t crc32 = 0;  ///< of the data, 0 if not recorded
};

/// The place of an item that was parsed from its zip.
/// \error kDataLoss  it is not the tensor that the metadata describes
/// \error kUnimplemented  its elements overlap or leave gaps
StatusOr<TensorPlace> PlaceOfParsedItem(const StoredItem& item,
                                        const TensorItemInfo& parsed);

/// Whether the item that was parsed is of the dtype that the metadata says. A
/// load does not ask: it converts.
/// \error kDataLoss  it is not
Status CheckStoredDType(const StoredItem& item, const TensorItemInfo& parsed);

/// Whether only a read of the whole item checks the tensor: it is a part of a
/// storage whose CRC-32 is recorded. torch's own writers store no such thing.
bool MustBeReadToCheck(const TensorItemInfo& parsed);

/// An error about `item`.
Status ItemCorruption(std::string_view what, const StoredItem& item);

}  // namespace dcp

#endif  // DCP_STORAGE_STORED_ITEM_H_
