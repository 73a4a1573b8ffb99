#include "format/place_table.h"

#include <algorithm>
#include <tuple>
#include <unordered_set>

#include "base/free_memory.h"

namespace dcp {
namespace {

bool IsEmpty(const Box& chunk) {
  return std::any_of(chunk.sizes.begin(), chunk.sizes.end(),
                     [](int64_t size) { return size == 0; });
}

/// The chunk at the offset of `index`, the number of chunks if there is none.
size_t ChunkOf(const TensorStorageMetadata& tensor,
               const MetadataIndex& index) {
  const std::vector<Box>& chunks = tensor.chunks;
  const auto hint = static_cast<size_t>(index.index.value_or(0));
  if (hint < chunks.size() && index.offset == chunks[hint].offsets) {
    return hint;
  }
  const auto found = std::find_if(
      chunks.begin(), chunks.end(),
      [&](const Box& chunk) { return index.offset == chunk.offsets; });
  return static_cast<size_t>(found - chunks.begin());
}

}  // namespace

PlaceTable::PlaceTable(const Metadata& metadata)
    : metadata_(metadata), finder_(metadata) {
  const size_t entry_count = metadata.entries().size();
  first_slots_.reserve(entry_count + 1);
  size_t count = 0;
  for (size_t position = 0; position < entry_count; ++position) {
    first_slots_.push_back(count);
    const TensorStorageMetadata* tensor = TensorAt(position);
    count += tensor == nullptr ? 1 : tensor->chunks.size();
  }
  first_slots_.push_back(count);
  slots_.resize(count);
}

const TensorStorageMetadata* PlaceTable::TensorAt(size_t position) const {
  return std::get_if<TensorStorageMetadata>(
      &metadata_.entries()[position].second);
}

// Items come in the order of ranks, slots in that of entries: each is somewhere
// else in memory. What a few items will need is asked for before it is used.
void PlaceTable::Add(const MetadataIndex& index, const StorageInfo& info) {
  __builtin_prefetch(index.fqn.data());
  pending_[pending_count_++].item = {.index = &index, .info = &info};
  if (pending_count_ == pending_.size()) PlacePending();
}

/// Begins to load what Place will look at.
void PlaceTable::Prefetch(size_t position, const MetadataIndex& index) const {
  if (position == metadata_.entries().size()) return;
  const TensorStorageMetadata* tensor = TensorAt(position);
  const auto hint = static_cast<size_t>(index.index.value_or(0));
  if (tensor == nullptr || hint >= tensor->chunks.size()) return;
  const auto* chunk = reinterpret_cast<const char*>(&tensor->chunks[hint]);
  __builtin_prefetch(chunk);
  __builtin_prefetch(chunk + sizeof(Box) - 1);
  __builtin_prefetch(&slots_[first_slots_[position] + hint], 1);
}

void PlaceTable::PlacePending() {
  for (size_t i = 0; i < pending_count_; ++i) {
    Pending& pending = pending_[i];
    pending.position = finder_.Position(pending.item.index->fqn);
    Prefetch(pending.position, *pending.item.index);
  }
  for (size_t i = 0; i < pending_count_; ++i) {
    Place(pending_[i].position, pending_[i].item);
  }
  pending_count_ = 0;
}

void PlaceTable::Place(size_t position, const Item& item) {
  if (position == metadata_.entries().size()) return AddStray(item);
  const TensorStorageMetadata* tensor = TensorAt(position);
  if ((tensor == nullptr) == item.index->offset.has_value()) {
    return AddStray(item);
  }
  if (tensor == nullptr) return Fill(first_slots_[position], item);
  const size_t chunk = ChunkOf(*tensor, *item.index);
  if (chunk == tensor->chunks.size()) return AddStray(item);
  if (IsEmpty(tensor->chunks[chunk])) {
    return empty_chunks_.push_back(
        {.position = position, .chunk = chunk, .item = item});
  }
  Fill(first_slots_[position] + chunk, item);
}

void PlaceTable::AddStray(const Item& item) {
  strays_.emplace_back(*item.index, *item.info);
}

void PlaceTable::Fill(size_t slot, const Item& item) {
  PlacedItem& placed = slots_[slot];
  if (placed.file != 0) return;
  placed = {.offset = item.info->offset,
            .length = item.info->length,
            .index_hint = item.index->index.value_or(0),
            .file = NumberOf(*item.info),
            .has_index = item.index->index.has_value()};
}

uint32_t PlaceTable::NumberOf(const StorageInfo& info) {
  if (last_file_ != 0) {
    const StorageInfo& last = files_[last_file_ - 1];
    if (last.relative_path == info.relative_path &&
        last.transform_descriptors == info.transform_descriptors) {
      return last_file_;
    }
  }
  uint32_t& number = info.transform_descriptors.empty()
                         ? plain_files_[info.relative_path]
                         : transformed_files_[{info.relative_path,
                                               info.transform_descriptors}];
  if (number == 0) {
    files_.push_back({.relative_path = info.relative_path,
                      .transform_descriptors = info.transform_descriptors});
    number = static_cast<uint32_t>(files_.size());
  }
  last_file_ = number;
  return number;
}

/// A key, which is a name and an offset, has one item.
void PlaceTable::PlaceEmptyChunks() {
  std::stable_sort(empty_chunks_.begin(), empty_chunks_.end(),
                   [](const EmptyChunk& a, const EmptyChunk& b) {
                     return a.position < b.position;
                   });
  std::unordered_set<MetadataIndex, MetadataIndexHash> taken;
  const EmptyChunk* last = nullptr;
  for (const EmptyChunk& empty : empty_chunks_) {
    const size_t first_slot = first_slots_[empty.position];
    if (last == nullptr || last->position != empty.position) {
      taken.clear();
      const std::vector<Box>& chunks = TensorAt(empty.position)->chunks;
      for (size_t c = 0; c < chunks.size(); ++c) {
        if (slots_[first_slot + c].file == 0) continue;
        taken.insert(MetadataIndex{.offset = chunks[c].offsets});
      }
    }
    last = &empty;
    if (taken.insert(MetadataIndex{.offset = empty.item.index->offset})
            .second) {
      Fill(first_slot + empty.chunk, empty.item);
    }
  }
  FreeMemory(&empty_chunks_);
}

void PlaceTable::Finish() {
  PlacePending();
  PlaceEmptyChunks();
  std::ranges::stable_sort(strays_, [](const Stray& a, const Stray& b) {
    return std::tie(a.first.fqn, a.first.offset) <
           std::tie(b.first.fqn, b.first.offset);
  });
  const auto repeated = std::ranges::unique(strays_, {}, &Stray::first);
  strays_.erase(repeated.begin(), repeated.end());
}

PlaceTable PlacesIn(const Metadata& metadata) {
  PlaceTable places(metadata);
  for (const auto& [index, info] : metadata.storage_data) {
    places.Add(index, info);
  }
  places.Finish();
  return places;
}

}  // namespace dcp
