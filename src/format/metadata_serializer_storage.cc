// planner_data, storage_data and storage_meta of MetadataSerializer.

#include <algorithm>
#include <tuple>

#include "format/metadata_serializer.h"

namespace dcp {
namespace {

/// Slots between the item that is written and the one that is loaded.
constexpr size_t kPrefetchDistance = 8;

}  // namespace

using enum PickleOp;

/// Position of the entry `fqn`. Hash tables are walked nearly in the order of
/// insertion, or its reverse: the wanted entry mostly lies a few places from
/// the last one that was near, and nothing needs to be hashed. Single keys in
/// between (which share a bucket) do not move that place.
size_t MetadataSerializer::EntryPosition(std::string_view fqn) {
  constexpr std::array<int, 7> kSteps = {0, -1, 1, -2, 2, -3, 3};
  const auto& entries = metadata_.entries();
  for (const int step : kSteps) {
    const size_t guess = near_position_ + static_cast<size_t>(step);
    if (guess < entries.size() && entries[guess].first == fqn) {
      near_position_ = guess;
      far_count_ = 0;
      return guess;
    }
  }
  const size_t position = metadata_.Position(fqn);
  if (++far_count_ > 2) near_position_ = position;
  return position;
}

void MetadataSerializer::PlannerData() {
  using Entry = std::pair<const std::string, ObjectPath>;
  if (!metadata_.planner_data) return out_.None();
  const auto& entries = metadata_.entries();
  std::vector<const Entry*> ordered(entries.size(), nullptr);
  std::vector<const Entry*> others;
  for (const Entry& entry : *metadata_.planner_data) {
    const size_t position = EntryPosition(entry.first);
    if (position < entries.size()) {
      ordered[position] = &entry;
    } else {
      others.push_back(&entry);
    }
  }
  std::sort(others.begin(), others.end(),
            [](const Entry* a, const Entry* b) { return a->first < b->first; });
  out_.Op(kEmptyDict);
  DictBatches batches(&out_);
  for (size_t i = 0; i < ordered.size(); ++i) {
    if (ordered[i] == nullptr) continue;
    batches.BeforeEntry();
    out_.Get(entry_memos_[i].fqn);
    Path(ordered[i]->second, ordered[i]->first, entry_memos_[i].fqn);
  }
  for (const Entry* other : others) {
    batches.BeforeEntry();
    Text(other->first);
    const PickleMemo memo = out_.Memoize();
    Path(other->second, other->first, memo);
  }
  batches.Finish();
}

/// `fqn`, the key, was memoized as `memo`: often it is a part of the path too.
void MetadataSerializer::Path(const ObjectPath& path, std::string_view fqn,
                              PickleMemo memo) {
  if (path.size() > 3) out_.Op(kMark);
  for (const PathItem& item : path) {
    if (const auto* index = std::get_if<int64_t>(&item)) {
      out_.Int(*index);
    } else if (std::get<std::string>(item) == fqn) {
      out_.Get(memo);
    } else {
      Text(std::get<std::string>(item));
    }
  }
  out_.Tuple(static_cast<int>(std::min<size_t>(path.size(), 4)));
}

/// Gives every item its slot, or puts it into `others`. Items come in the order
/// in which ranks sent them, slots in that of the entries: each is somewhere
/// else in memory. What a few items will need is asked for before it is used.
void MetadataSerializer::FillSlots(std::vector<const StoredItem*>* others) {
  struct Found {
    size_t position;
    const StoredItem* item;
  };
  std::array<Found, 16> batch;
  size_t count = 0;
  const auto finish = [&] {
    for (size_t i = 0; i < count; ++i) {
      ItemSlot* slot = FindSlot(batch[i].position, batch[i].item->first);
      if (slot != nullptr) {
        slot->item = batch[i].item;
      } else {
        others->push_back(batch[i].item);
      }
    }
    count = 0;
  };
  for (const StoredItem& item : metadata_.storage_data) {
    const size_t position = EntryPosition(item.first.fqn);
    PrefetchSlot(position, item.first);
    batch[count++] = {.position = position, .item = &item};
    if (count == batch.size()) finish();
  }
  finish();
}

/// Begins to load what FindSlot will look at.
void MetadataSerializer::PrefetchSlot(size_t position,
                                      const MetadataIndex& index) const {
  if (position == metadata_.entries().size()) return;
  const auto* tensor =
      std::get_if<TensorStorageMetadata>(&metadata_.entries()[position].second);
  const auto hint = static_cast<size_t>(index.index.value_or(0));
  if (tensor == nullptr || hint >= tensor->chunks.size()) return;
  __builtin_prefetch(&tensor->chunks[hint]);
  __builtin_prefetch(&item_slots_[entry_memos_[position].first_slot + hint], 1);
}

void MetadataSerializer::StorageData() {
  std::vector<const StoredItem*> others;
  FillSlots(&others);
  std::sort(others.begin(), others.end(),
            [](const StoredItem* a, const StoredItem* b) {
              return std::tie(a->first.fqn, a->first.offset) <
                     std::tie(b->first.fqn, b->first.offset);
            });
  out_.Op(kEmptyDict);
  DictBatches batches(&out_);
  for (const EntryMemo& entry : entry_memos_) {
    for (size_t i = 0; i < entry.slot_count; ++i) {
      const ItemSlot& slot = item_slots_[entry.first_slot + i];
      PrefetchItem(entry.first_slot + i + kPrefetchDistance);
      if (slot.item == nullptr) continue;
      batches.BeforeEntry();
      Item(*slot.item, entry.fqn, slot.offset);
    }
  }
  for (const StoredItem* other : others) {
    batches.BeforeEntry();
    Item(*other, kNoPickleMemo, kNoPickleMemo);
  }
  batches.Finish();
}

/// The chunk or object of the entry at `position` that the item is of, nullptr
/// if there is none. Empty chunks may share an offset: one of them then has the
/// item.
MetadataSerializer::ItemSlot* MetadataSerializer::FindSlot(
    size_t position, const MetadataIndex& index) {
  if (position == metadata_.entries().size()) return nullptr;
  ItemSlot* slots = item_slots_.data() + entry_memos_[position].first_slot;
  const auto* tensor =
      std::get_if<TensorStorageMetadata>(&metadata_.entries()[position].second);
  if (tensor == nullptr) return index.offset ? nullptr : slots;
  if (!index.offset) return nullptr;
  const std::vector<Box>& chunks = tensor->chunks;
  const auto hint = static_cast<size_t>(index.index.value_or(0));
  if (hint < chunks.size() && chunks[hint].offsets == *index.offset) {
    return slots + hint;
  }
  for (size_t c = 0; c < chunks.size(); ++c) {
    if (chunks[c].offsets == *index.offset) return slots + c;
  }
  return nullptr;
}

/// Begins to load the item of a slot that is a few away.
void MetadataSerializer::PrefetchItem(size_t slot) const {
  constexpr size_t kLineNbytes = 64;
  if (slot >= item_slots_.size()) return;
  const auto* line = reinterpret_cast<const char*>(item_slots_[slot].item);
  if (line == nullptr) return;
  for (size_t i = 0; i < sizeof(StoredItem); i += kLineNbytes) {
    __builtin_prefetch(line + i);
  }
}

/// `fqn` and `offset` are memos of the equal values, or kNoPickleMemo.
void MetadataSerializer::Item(const StoredItem& item, PickleMemo fqn,
                              PickleMemo offset) {
  const auto& [index, info] = item;
  Repeat(&phrases_.begin_index, [this] {
    BeginObject(PickleClass::kMetadataIndex);
    Word(PickleWord::kFqn);
  });
  fqn == kNoPickleMemo ? Text(index.fqn) : out_.Get(fqn);
  Repeat(&phrases_.index, [this] { Word(PickleWord::kIndex); });
  index.index ? out_.Int(*index.index) : out_.None();
  if (index.offset) {
    Repeat(&phrases_.offset, [this] { Word(PickleWord::kOffset); });
    if (offset == kNoPickleMemo) {
      SizeValue(*index.offset);
    } else {
      out_.Get(offset);
    }
  }
  Repeat(&phrases_.begin_place, [this] {
    EndObject();
    BeginObject(PickleClass::kStorageInfo);
    Word(PickleWord::kRelativePath);
  });
  RelativePath(info.relative_path);
  Repeat(&phrases_.offset, [this] { Word(PickleWord::kOffset); });
  out_.Int(info.offset);
  Repeat(&phrases_.length, [this] { Word(PickleWord::kLength); });
  out_.Int(info.length);
  if (!info.transform_descriptors.empty()) {
    Word(PickleWord::kTransformDescriptors);
    StringList(info.transform_descriptors);
  }
  EndObject();
}

void MetadataSerializer::RelativePath(const std::string& path) {
  // Items of one file mostly follow each other.
  if (last_path_ == nullptr || last_path_->first != path) {
    last_path_ = &*paths_.try_emplace(path, Slot{0}).first;
  }
  if (Recall(last_path_->second)) return;
  Text(path);
  Remember(&last_path_->second);
}

void MetadataSerializer::StringList(const std::vector<std::string>& strings) {
  out_.Op(kEmptyList);
  for (const std::string& text : strings) {
    Text(text);
    out_.Op(kAppend);
  }
}

void MetadataSerializer::StorageMetaValue() {
  if (!metadata_.storage_meta) return out_.None();
  const StorageMeta& meta = *metadata_.storage_meta;
  BeginObject(PickleClass::kStorageMeta);
  Word(PickleWord::kCheckpointId);
  OptionalString(meta.checkpoint_id);
  Word(PickleWord::kSaveId);
  OptionalString(meta.save_id);
  Word(PickleWord::kLoadId);
  OptionalString(meta.load_id);
  Word(PickleWord::kModules);
  StringList(meta.modules);
  EndObject();
}

void MetadataSerializer::OptionalString(
    const std::optional<std::string>& value) {
  value ? Text(*value) : out_.None();
}

}  // namespace dcp
