// Finding the tensor data inside items.

#ifndef DCP_STORAGE_ITEM_PLACES_H_
#define DCP_STORAGE_ITEM_PLACES_H_

#include <optional>
#include <span>
#include <utility>
#include <vector>

#include "staging/pipeline_options.h"
#include "storage/open_files.h"
#include "storage/stored_item.h"

namespace dcp {

using ItemInFile = std::pair<const StoredItem*, OpenFile*>;

/// The place of a tensor by the sidecar of the save that wrote it, with no
/// read at all. nullopt if there is no record or the item must be decoded.
std::optional<TensorPlace> RecordedPlace(const StoredItem& item,
                                         const OpenFile& file);

/// Parses the zip directories of `items`, whose heads and tails are read many
/// at once.
/// \error kDataLoss  an item is not a torch.save of a tensor
StatusOr<std::vector<TensorItemInfo>> ParseItems(
    std::span<const ItemInFile> items, const PipelineOptions& options);

}  // namespace dcp

#endif  // DCP_STORAGE_ITEM_PLACES_H_
