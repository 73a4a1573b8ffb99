// storage_data, planner_data and storage_meta of MetadataScanner.

#include <utility>
#include <vector>

#include "format/metadata_scanner.h"
#include "format/path_parts.h"
#include "format/possible_values.h"

namespace dcp {

using enum PickleOp;

bool MetadataScanner::PlannerData() {
  if (in_.Take(kNone)) return true;
  const auto is_entry = [this] { return IsPlannerEntry(); };
  if (paths_ == Paths::kSkip) {
    return Dict([this] { return SkipPath(); }, is_entry);
  }
  auto& paths = metadata_.planner_data.emplace();
  const size_t max_count = metadata_.entries().size();
  paths.reserve(max_count);
  const auto add = [&](std::string_view key, ObjectPath path) {
    if (paths.size() == max_count || !budget_.Take(key.size())) return false;
    const auto [added, is_new] = paths.emplace(key, std::move(path));
    return is_new && !IsCrowded(paths, added);
  };
  const auto entry = [this, &add] {
    std::string_view key;
    ObjectPath path;
    return in_.Text(&key) && Path(&path) && add(key, std::move(path));
  };
  return Dict(entry, is_entry);
}

/// The next key and its path.
bool MetadataScanner::SkipPath() {
  std::string_view key;
  if (!in_.Text(&key)) return false;
  const bool is_marked = in_.Take(kMark);
  size_t count = 0;
  for (; !in_.NextIsTuple(); ++count) {
    int64_t position = 0;
    if (count == kMaxBatch || (!in_.Int(&position) && !in_.Text(&key))) {
      return false;
    }
  }
  return in_.TupleOf(count, is_marked);
}

/// The next attribute, storage_data, is None or a dict, a path a tuple.
bool MetadataScanner::IsPlannerEntry() {
  std::string_view key;
  return in_.Text(&key) && in_.Peek() != kEmptyDict && in_.Peek() != kNone;
}

bool MetadataScanner::Path(ObjectPath* path) {
  const bool is_marked = in_.Take(kMark);
  while (!in_.NextIsTuple()) {
    int64_t position = 0;
    std::string_view key;
    const bool is_position = in_.Int(&position);
    if (!is_position && !in_.Text(&key)) return false;
    if (path->size() == kMaxBatch || !budget_.TakeElement(key)) return false;
    if (is_position) {
      path->emplace_back(position);
    } else {
      path->emplace_back(std::string(key));
    }
  }
  return in_.TupleOf(path->size(), is_marked);
}

bool MetadataScanner::StorageData() {
  if (in_.Take(kNone)) return true;
  metadata_.storage_data.reserve(2 * item_count_);  // few collisions
  const auto item = [this] { return StoredItem(); };
  return Dict(item,
              [this] { return in_.NextIsClass(PickleGlobal::kMetadataIndex); });
}

bool MetadataScanner::StoredItem() {
  MetadataIndex index;
  if (!Index(&index)) return false;
  const auto [item, is_new] =
      metadata_.storage_data.try_emplace(std::move(index));
  return is_new && Place(&item->second);
}

bool MetadataScanner::Index(MetadataIndex* index) {
  std::string_view fqn;
  if (!in_.Class(PickleGlobal::kMetadataIndex) || !in_.BeginObject() ||
      !in_.Name("fqn") || !in_.Text(&fqn) || !in_.Name("index")) {
    return false;
  }
  if (!in_.Take(kNone) && !in_.Int(&index->index.emplace())) return false;
  if (in_.Peek() != kSetItems &&
      (!in_.Name("offset") || !Size(&index->offset.emplace()))) {
    return false;
  }
  if (!budget_.TakeItemText(fqn)) return false;
  index->fqn = fqn;
  return in_.EndObject() && HasEntry(*index, fqn);
}

/// Whether the item is of an entry, and of its kind. `fqn` is its key in the
/// pickle: that of the next item mostly is the very same bytes.
bool MetadataScanner::HasEntry(const MetadataIndex& index,
                               std::string_view fqn) {
  const auto& entries = metadata_.entries();
  if (fqn.data() != fqn_.data() || fqn.size() != fqn_.size()) {
    // Items mostly follow the order of the entries.
    const size_t next = position_ + 1;
    position_ = next < entries.size() && entries[next].first == fqn
                    ? next
                    : metadata_.Position(fqn);
    if (position_ == entries.size()) return false;
    fqn_ = fqn;
  }
  const auto* tensor =
      std::get_if<TensorStorageMetadata>(&entries[position_].second);
  if (tensor == nullptr) return !index.offset;
  return index.offset && index.offset->size() == tensor->size.size();
}

bool MetadataScanner::Place(StorageInfo* info) {
  std::string_view path;
  if (!in_.Class(PickleGlobal::kStorageInfo) || !in_.BeginObject() ||
      !in_.Name("relative_path") || !in_.Text(&path) || !in_.Name("offset") ||
      !in_.Int(&info->offset) || !in_.Name("length") ||
      !in_.Int(&info->length)) {
    return false;
  }
  if (!budget_.TakeItemText(path)) return false;
  info->relative_path = path;
  if (!IsPossiblePlace(*info)) return false;
  if (in_.Peek() != kSetItems && (!in_.Name("transform_descriptors") ||
                                  !Strings(&info->transform_descriptors))) {
    return false;
  }
  return in_.EndObject();
}

bool MetadataScanner::Strings(std::vector<std::string>* strings) {
  return LastList([&] {
    std::string_view text;
    if (!in_.Text(&text) || !budget_.TakeElement(text)) return false;
    strings->emplace_back(text);
    return true;
  });
}

bool MetadataScanner::StorageMetaValue() {
  if (in_.Take(kNone)) return true;
  StorageMeta& meta = metadata_.storage_meta.emplace();
  if (!in_.Class(PickleGlobal::kStorageMeta) || !in_.BeginObject() ||
      !in_.Name("checkpoint_id") || !CheckpointId(&meta.checkpoint_id) ||
      !in_.Name("save_id") || !OptionalText(&meta.save_id) ||
      !in_.Name("load_id") || !OptionalText(&meta.load_id)) {
    return false;
  }
  if (in_.EndObject()) return true;
  return in_.Name("modules") && Strings(&meta.modules) && in_.EndObject();
}

/// A string, None, or a path's class called with its parts.
bool MetadataScanner::CheckpointId(std::optional<std::string>* id) {
  const PickleScanner::Bookmark here = in_.Here();
  if (OptionalText(id) && in_.NextIsName("save_id")) return true;
  in_.GoBack(here);
  id->reset();
  GlobalId type;
  if (!in_.Global(&type) || (type.global != PickleGlobal::kPosixPath &&
                             type.global != PickleGlobal::kWindowsPath)) {
    return false;
  }
  std::vector<std::string_view> parts;
  std::string_view part;
  const bool is_marked = in_.Take(kMark);
  while (!in_.NextIsTuple()) {
    if (!in_.Text(&part) || !budget_.TakeElement(part)) return false;
    if (parts.size() == kMaxBatch) return false;
    parts.push_back(part);
  }
  if (!in_.TupleOf(parts.size(), is_marked) || !in_.Take(kReduce)) return false;
  in_.Memoize();
  *id = JoinPathParts(type.global, parts);
  return true;
}

bool MetadataScanner::OptionalText(std::optional<std::string>* text) {
  if (in_.Take(kNone)) return true;
  std::string_view view;
  if (!in_.Text(&view) || !budget_.Take(view.size())) return false;
  *text = view;
  return true;
}

}  // namespace dcp
