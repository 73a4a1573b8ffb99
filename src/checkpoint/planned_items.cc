#include "checkpoint/planned_items.h"

#include <algorithm>
#include <string>
#include <variant>

namespace dcp {
namespace {

/// What tells items apart: the entry and, of a chunk, its offsets.
struct Key {
  size_t entry = 0;
  const Dims* offsets = nullptr;  ///< null for an object

  bool operator<(const Key& other) const {
    if (entry != other.entry) return entry < other.entry;
    if (offsets == nullptr || other.offsets == nullptr) return false;
    return *offsets < *other.offsets;
  }
  bool operator==(const Key& other) const {
    if (entry != other.entry) return false;
    if (offsets == nullptr || other.offsets == nullptr) {
      return offsets == other.offsets;
    }
    return *offsets == *other.offsets;
  }
};

const TensorStorageMetadata* TensorOf(const Metadata& metadata, size_t entry) {
  return std::get_if<TensorStorageMetadata>(&metadata.entries()[entry].second);
}

Key KeyOf(const PlannedItem& item, const Metadata& metadata) {
  const TensorStorageMetadata* const tensor = TensorOf(metadata, item.entry);
  return {.entry = item.entry,
          .offsets = tensor ? &tensor->chunks[item.chunk].offsets : nullptr};
}

MetadataIndex IndexOf(const Key& key, const Metadata& metadata) {
  MetadataIndex index{.fqn = metadata.entries()[key.entry].first};
  if (key.offsets != nullptr) index.offset = *key.offsets;
  return index;
}

Status Unknown(const WriteItem& item) {
  return Internal("the plan has " + ToString(item.index()) +
                  ", but its metadata do not");
}

Status Unplanned(const MetadataIndex& index) {
  return Internal("the storage reported " + ToString(index) +
                  ", which was not planned or was reported before");
}

}  // namespace

StatusOr<PlannedItems> PlannedItems::Of(const GlobalPlan& global) {
  const Metadata& metadata = global.metadata;
  size_t count = 0;
  for (const SavePlan& plan : global.plans) count += plan.items.size();
  PlannedItems planned;
  planned.items_.reserve(count);
  planned.begin_.reserve(global.plans.size() + 1);
  planned.begin_.push_back(0);
  std::vector<uint32_t> chunks_so_far(metadata.entries().size());
  for (const SavePlan& plan : global.plans) {
    for (const WriteItem& item : plan.items) {
      const size_t entry = metadata.Position(item.fqn);
      if (entry == metadata.entries().size()) return Unknown(item);
      const TensorStorageMetadata* const tensor = TensorOf(metadata, entry);
      const bool is_object = item.type == WriteItemType::kByteIo;
      if (is_object != (tensor == nullptr)) return Unknown(item);
      uint32_t chunk = 0;
      if (tensor != nullptr) {
        chunk = chunks_so_far[entry]++;
        if (chunk >= tensor->chunks.size() ||
            tensor->chunks[chunk] != item.chunk) {
          return Unknown(item);
        }
      }
      planned.items_.push_back(
          {.entry = static_cast<uint32_t>(entry), .chunk = chunk});
    }
    const auto first =
        planned.items_.begin() + static_cast<ptrdiff_t>(planned.begin_.back());
    std::sort(first, planned.items_.end(),
              [&metadata](const PlannedItem& a, const PlannedItem& b) {
                return KeyOf(a, metadata) < KeyOf(b, metadata);
              });
    planned.begin_.push_back(planned.items_.size());
  }
  return planned;
}

Status PlannedItems::Check(size_t rank, const Metadata& metadata,
                           std::span<WriteResult> results) const {
  const std::span<const PlannedItem> items =
      std::span(items_).subspan(begin_[rank], begin_[rank + 1] - begin_[rank]);
  std::vector<bool> is_reported(items.size());
  for (WriteResult& result : results) {
    MetadataIndex& index = result.index;
    const Key key{.entry = metadata.Position(index.fqn),
                  .offsets = index.offset ? &*index.offset : nullptr};
    const auto found = std::partition_point(
        items.begin(), items.end(),
        [&](const PlannedItem& item) { return KeyOf(item, metadata) < key; });
    const auto position = static_cast<size_t>(found - items.begin());
    if (found == items.end() || is_reported[position] ||
        !(KeyOf(*found, metadata) == key)) {
      return Unplanned(index);
    }
    is_reported[position] = true;
    if (index.offset) index.index = found->chunk;
  }
  const auto first = std::find(is_reported.begin(), is_reported.end(), false);
  if (first == is_reported.end()) return absl::OkStatus();
  const PlannedItem& missing =
      items[static_cast<size_t>(first - is_reported.begin())];
  return Internal("the storage did not report " +
                  std::to_string(std::count(first, is_reported.end(), false)) +
                  " planned items, among them " +
                  ToString(IndexOf(KeyOf(missing, metadata), metadata)));
}

}  // namespace dcp
