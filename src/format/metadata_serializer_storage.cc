// planner_data, storage_data and storage_meta of MetadataSerializer.

#include <algorithm>

#include "format/entry_finder.h"
#include "format/metadata_serializer.h"

namespace dcp {

using enum PickleOp;

void MetadataSerializer::PlannerData() {
  using Entry = std::pair<const std::string, ObjectPath>;
  if (!metadata_.planner_data) return out_.None();
  const auto& entries = metadata_.entries();
  std::vector<const Entry*> ordered(entries.size(), nullptr);
  std::vector<const Entry*> others;
  EntryFinder finder(metadata_);
  for (const Entry& entry : *metadata_.planner_data) {
    const size_t position = finder.Position(entry.first);
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
    out_.Get(fqn_memos_[i]);
    Path(ordered[i]->second, ordered[i]->first, fqn_memos_[i]);
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

void MetadataSerializer::StorageData() {
  out_.Op(kEmptyDict);
  DictBatches batches(&out_);
  for (const StorageInfo& file : places_.files()) {
    path_slots_.push_back(&paths_[file.relative_path]);
  }
  size_t slot = 0;
  for (size_t position = 0; position < fqn_memos_.size(); ++position) {
    for (const PlacedItem& item : places_.SlotsOf(position)) {
      const PickleMemo offset = offset_memos_[slot++];
      if (item.file == 0) continue;
      batches.BeforeEntry();
      Item(item, fqn_memos_[position], offset);
    }
  }
  for (const PlaceTable::Stray& stray : places_.strays()) {
    batches.BeforeEntry();
    Stray(stray);
  }
  batches.Finish();
}

/// `fqn` is the memo of the entry's key, `offset` that of the chunk's offset,
/// kNoPickleMemo for an object.
void MetadataSerializer::Item(const PlacedItem& item, PickleMemo fqn,
                              PickleMemo offset) {
  BeginIndex();
  out_.Get(fqn);
  IndexValue(item.index());
  if (offset != kNoPickleMemo) {
    Repeat(&phrases_.offset, [this] { Word(PickleWord::kOffset); });
    out_.Get(offset);
  }
  Place(places_.files()[item.file - 1], item.offset, item.length,
        path_slots_[item.file - 1]);
}

void MetadataSerializer::Stray(const PlaceTable::Stray& stray) {
  const auto& [index, info] = stray;
  BeginIndex();
  Text(index.fqn);
  IndexValue(index.index);
  if (index.offset) {
    Repeat(&phrases_.offset, [this] { Word(PickleWord::kOffset); });
    SizeValue(*index.offset);
  }
  Place(info, info.offset, info.length, &paths_[info.relative_path]);
}

void MetadataSerializer::BeginIndex() {
  Repeat(&phrases_.begin_index, [this] {
    BeginObject(PickleClass::kMetadataIndex);
    Word(PickleWord::kFqn);
  });
}

void MetadataSerializer::IndexValue(std::optional<int64_t> index) {
  Repeat(&phrases_.index, [this] { Word(PickleWord::kIndex); });
  index ? out_.Int(*index) : out_.None();
}

/// Ends the index, too. `path` is the slot of place.relative_path.
void MetadataSerializer::Place(const StorageInfo& place, int64_t offset,
                               int64_t length, Slot* path) {
  Repeat(&phrases_.begin_place, [this] {
    EndObject();
    BeginObject(PickleClass::kStorageInfo);
    Word(PickleWord::kRelativePath);
  });
  if (!Recall(*path)) {
    Text(place.relative_path);
    Remember(path);
  }
  Repeat(&phrases_.offset, [this] { Word(PickleWord::kOffset); });
  out_.Int(offset);
  Repeat(&phrases_.length, [this] { Word(PickleWord::kLength); });
  out_.Int(length);
  if (!place.transform_descriptors.empty()) {
    Word(PickleWord::kTransformDescriptors);
    StringList(place.transform_descriptors);
  }
  EndObject();
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
