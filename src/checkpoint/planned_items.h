// PlannedItems: what each rank is to write, kept from the plan to the commit.

#ifndef DCP_CHECKPOINT_PLANNED_ITEMS_H_
#define DCP_CHECKPOINT_PLANNED_ITEMS_H_

#include <cstddef>
#include <cstdint>
#include <span>
#include <vector>

#include "dcp/plan.h"
#include "dcp/status.h"
#include "dcp/storage.h"

namespace dcp {

/// An item as its place in the metadata of the plan.
struct PlannedItem {
  uint32_t entry = 0;  ///< position in Metadata::entries()
  uint32_t chunk = 0;  ///< position in its chunks; 0 for an object
};

/// The items of a GlobalPlan as places in its metadata, which has their names
/// and chunks: 8 bytes an item, as it is held while the data are written.
class PlannedItems {
 public:
  PlannedItems() = default;
  /// \error kInternal  an item that the metadata do not have
  static StatusOr<PlannedItems> Of(const GlobalPlan& global);

  /// Checks that `results` are what `rank` was to write, each exactly once, and
  /// says of each chunk where it stands in TensorStorageMetadata::chunks
  /// (MetadataIndex::index): without that, finding a chunk is a search.
  /// `metadata` are those of the plan.
  /// \error kInternal  names an item that is missing or too many
  Status Check(size_t rank, const Metadata& metadata,
               std::span<WriteResult> results) const;

 private:
  /// Items [begin_[rank], begin_[rank + 1]) are those of `rank`, by entry and
  /// offsets.
  std::vector<PlannedItem> items_;
  std::vector<size_t> begin_;
};

}  // namespace dcp

#endif  // DCP_CHECKPOINT_PLANNED_ITEMS_H_
