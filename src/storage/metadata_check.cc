#include "storage/metadata_check.h"

#include <algorithm>
#include <tuple>
#include <unordered_map>
#include <utility>

#include "io/paths.h"
#include "plan/chunk_faults.h"

namespace dcp {
namespace {

class ItemLister {
 public:
  ItemLister(const MetadataCheck& check, DamageLog& log)
      : check_(check), log_(log) {}

  std::vector<StoredItem> List() && {
    for (const auto& [fqn, entry] : check_.metadata.entries()) {
      if (const auto* tensor = std::get_if<TensorStorageMetadata>(&entry)) {
        AddTensor(fqn, *tensor);
      } else {
        StoredItem item;
        item.index.fqn = fqn;
        item.type = LoadItemType::kByteIo;
        Add(std::move(item));
      }
    }
    std::sort(items_.begin(), items_.end(),
              [](const StoredItem& a, const StoredItem& b) {
                return std::tie(a.info.relative_path, a.info.offset) <
                       std::tie(b.info.relative_path, b.info.offset);
              });
    return std::move(items_);
  }

 private:
  void AddTensor(const std::string& fqn, const TensorStorageMetadata& tensor) {
    // An empty chunk may begin where another one does: they share their key in
    // the metadata, and nothing is ever read of the empty one.
    std::unordered_map<MetadataIndex, const Box*, MetadataIndexHash> chunks;
    for (const Box& chunk : tensor.chunks) {
      const Box*& known = chunks[{.fqn = fqn, .offset = chunk.offsets}];
      if (known == nullptr || known->numel() == 0) known = &chunk;
    }
    for (const Box& chunk : tensor.chunks) {  // in an order that is the same
      StoredItem item;
      item.index = {.fqn = fqn, .offset = chunk.offsets};
      if (chunks.at(item.index) != &chunk) continue;
      item.sizes = chunk.sizes;
      item.dtype = tensor.properties.dtype;
      Add(std::move(item));
    }
  }

  void Add(StoredItem item) {
    item.directory = check_.directory;
    const auto place = check_.metadata.storage_data.find(item.index);
    if (place == check_.metadata.storage_data.end()) {
      const bool is_needed =
          item.type == LoadItemType::kByteIo || Numel(item.sizes) > 0;
      if (is_needed) {
        AddFault(item.index.fqn, "the metadata does not say where " +
                                     ToString(item.index) + " is stored");
      }
      return;
    }
    item.info = place->second;
    const Status path = ValidateRelativePath(item.info.relative_path);
    if (!path.ok()) {
      AddFault(item.index.fqn, std::string(Message(path)));
      return;
    }
    items_.push_back(std::move(item));
  }

  void AddFault(const std::string& fqn, std::string message) {
    log_.Add({.fqn = fqn, .path = check_.path, .message = std::move(message)});
  }

  const MetadataCheck& check_;
  DamageLog& log_;
  std::vector<StoredItem> items_;
};

bool IsSamePlace(const StorageInfo& a, const StorageInfo& b) {
  return a.offset == b.offset && a.length == b.length;
}

/// Items share no bytes, unless they are the same bytes under two keys.
void CheckOverlaps(std::span<const StoredItem> items, DamageLog& log) {
  const StoredItem* last = nullptr;  // of those so far, the one that ends last
  for (const StoredItem& item : items) {
    const StorageInfo& info = item.info;
    if (info.length <= 0) continue;
    const bool same_file =
        last != nullptr && last->info.relative_path == info.relative_path;
    if (same_file && info.offset - last->info.offset < last->info.length &&
        !IsSamePlace(info, last->info)) {
      log.AddItem(DataLoss("the item overlaps that of " + last->index.fqn),
                  item);
    }
    if (!same_file ||
        info.length > last->info.length - (info.offset - last->info.offset)) {
      last = &item;
    }
  }
}

}  // namespace

std::vector<StoredItem> ListStoredItems(const MetadataCheck& check,
                                        DamageLog& log) {
  for (const ChunkFault& fault :
       FindChunkFaults(check.metadata, check.coverage)) {
    log.Add({.fqn = fault.fqn,
             .path = check.path,
             .message = "the tensor of shape " + ToString(fault.size) + " " +
                        fault.what});
  }
  std::vector<StoredItem> items = ItemLister(check, log).List();
  CheckOverlaps(items, log);
  return items;
}

}  // namespace dcp
