// Blocks of items: chunks of one tensor and the places where they lie.

#ifndef DCP_FORMAT_INDEXED_ITEMS_H_
#define DCP_FORMAT_INDEXED_ITEMS_H_

#include <cstdint>
#include <optional>
#include <span>
#include <string>
#include <string_view>
#include <unordered_map>
#include <vector>

#include "dcp/metadata.h"
#include "dcp/status.h"
#include "format/indexed_columns.h"
#include "format/metadata_limits.h"

namespace dcp {

/// Items that a block holds; the last one of an entry may hold fewer.
inline constexpr size_t kItemsPerBlock = kMaxColumnValues;

/// A chunk of a tensor, or an object, and its entry in storage_data.
struct IndexedItem {
  Box chunk;  ///< of 0 dimensions for an object
  /// MetadataIndex::index.
  std::optional<int64_t> index;
  /// nullopt if storage_data has none (of two empty chunks at one offset, one
  /// has the place).
  std::optional<StorageInfo> place;
  bool operator==(const IndexedItem&) const = default;
};

/// Numbers files, each with the transforms of its items, in the order in which
/// they first come.
class FileNumbers {
 public:
  /// 1 for the first file.
  int64_t NumberOf(const StorageInfo& place);
  /// The files that have a number.
  std::string Serialize() const;

 private:
  std::unordered_map<std::string, int64_t> numbers_;
  std::vector<std::string> files_;
};

/// Reads what FileNumbers wrote: places of no length.
/// \error kDataLoss  malformed, or more than `budget` has left
StatusOr<std::vector<StorageInfo>> ParseFiles(std::string_view data,
                                              CopyBudget budget);

/// The bytes of a block of 1 to kItemsPerBlock items of one entry.
std::string SerializeItems(std::span<const IndexedItem> items,
                           FileNumbers* files);

/// Appends `count` items, of chunks of a tensor of `size`, from their block.
/// \error kDataLoss  that is not what the block holds, or impossible
Status ParseItems(std::string_view block, const Dims& size, size_t count,
                  std::span<const StorageInfo> files,
                  std::vector<IndexedItem>* items);

}  // namespace dcp

#endif  // DCP_FORMAT_INDEXED_ITEMS_H_
