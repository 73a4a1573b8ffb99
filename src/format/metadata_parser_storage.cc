// storage_data, planner_data and storage_meta.

#include <algorithm>
#include <utility>

#include "format/metadata_parser.h"
#include "format/path_parts.h"
#include "format/possible_values.h"

namespace dcp {

bool MetadataParser::ParseStorageData(PickleId id) {
  if (graph_.is_none(id)) return true;
  std::span<const PickleId> items;
  if (!decoder_.Dict(id, "storage_data", &items)) return false;
  metadata_.storage_data.reserve(items.size());  // half full: few collisions
  for (size_t i = 0; i < items.size(); i += 2) {
    MetadataIndex index;
    StorageInfo info;
    if (!ParseIndex(items[i], &index) ||
        !ParseStorageInfo(items[i + 1], &info) || !CheckIndex(index)) {
      return false;
    }
    if (!metadata_.storage_data.emplace(std::move(index), std::move(info))
             .second) {
      return decoder_.Fail("storage_data names a chunk twice");
    }
  }
  context_ = {};
  return true;
}

bool MetadataParser::ParseIndex(PickleId id, MetadataIndex* index) {
  std::span<const PickleId> attributes;
  context_ = {};
  if (!decoder_.Attributes(id, PickleGlobal::kMetadataIndex,
                           "a key of storage_data", &attributes)) {
    return false;
  }
  bool has_fqn = false;
  for (size_t i = 0; i < attributes.size(); i += 2) {
    std::string_view name;
    const PickleId value = attributes[i + 1];
    if (!decoder_.String(attributes[i], "an attribute's name", &name)) {
      return false;
    }
    if (name == "fqn") {
      has_fqn = decoder_.String(value, "fqn", &context_);
      if (!has_fqn || !Require(budget_.TakeItemText(context_))) return false;
      index->fqn = context_;
    } else if (graph_.is_none(value)) {
      continue;
    } else if (name == "offset") {
      if (!Ints(value, "offset", &index->offset.emplace())) return false;
    } else if (name == "index") {
      if (!decoder_.Int(value, "index", &index->index.emplace())) return false;
    } else if (!Ignore("MetadataIndex." + std::string(name))) {
      return false;
    }
  }
  return has_fqn || decoder_.Fail("a key of storage_data has no fqn");
}

bool MetadataParser::ParseStorageInfo(PickleId id, StorageInfo* info) {
  std::span<const PickleId> attributes;
  if (!decoder_.Attributes(id, PickleGlobal::kStorageInfo, "its storage_data",
                           &attributes)) {
    return false;
  }
  unsigned found = 0;
  for (size_t i = 0; i < attributes.size(); i += 2) {
    std::string_view name;
    const PickleId value = attributes[i + 1];
    if (!decoder_.String(attributes[i], "an attribute's name", &name)) {
      return false;
    }
    if (name == "relative_path") {
      std::string_view path;
      if (!decoder_.String(value, "relative_path", &path) ||
          !Require(budget_.TakeItemText(path))) {
        return false;
      }
      info->relative_path = path;
      found |= 1;
    } else if (name == "offset") {
      if (!decoder_.Int(value, "offset", &info->offset)) return false;
      found |= 2;
    } else if (name == "length") {
      if (!decoder_.Int(value, "length", &info->length)) return false;
      found |= 4;
    } else if (name == "transform_descriptors") {
      if (!ParseTransforms(value, &info->transform_descriptors)) return false;
    } else if (!Ignore("_StorageInfo." + std::string(name))) {
      return false;
    }
  }
  if (found != 7) {
    return decoder_.Fail("relative_path, offset or length are missing");
  }
  return CheckRange(*info);
}

bool MetadataParser::CheckRange(const StorageInfo& info) {
  if (IsPossiblePlace(info)) return true;
  return decoder_.Fail("offset " + std::to_string(info.offset) +
                       " and length " + std::to_string(info.length) +
                       " are impossible");
}

bool MetadataParser::ParseTransforms(PickleId id,
                                     std::vector<std::string>* descriptors) {
  if (graph_.is_none(id)) return true;
  std::span<const PickleId> items;
  if (!decoder_.Sequence(id, "transform_descriptors", &items)) return false;
  for (PickleId item : items) {
    std::string_view descriptor;
    if (!decoder_.String(item, "a transform descriptor", &descriptor) ||
        !Require(budget_.TakeElement(descriptor))) {
      return false;
    }
    descriptors->emplace_back(descriptor);
  }
  return true;
}

/// An item of a tensor has the offset of a chunk, one of an object has none.
bool MetadataParser::CheckIndex(const MetadataIndex& index) {
  // Items mostly follow the order of the entries.
  const auto& entries = metadata_.entries();
  size_t position = position_ + 1;
  if (position >= entries.size() || entries[position].first != index.fqn) {
    position = position_;
  }
  if (position >= entries.size() || entries[position].first != index.fqn) {
    position = metadata_.Position(index.fqn);
  }
  if (position == entries.size()) return true;
  position_ = position;
  const auto* tensor =
      std::get_if<TensorStorageMetadata>(&entries[position].second);
  if (tensor == nullptr) {
    return !index.offset ||
           decoder_.Fail("storage_data has a chunk of what is no tensor");
  }
  if (!index.offset) {
    return decoder_.Fail("storage_data has no chunk offset for a tensor");
  }
  return index.offset->size() == tensor->size.size() ||
         decoder_.Fail("storage_data has offset " + ToString(*index.offset) +
                       " for a tensor of size " + ToString(tensor->size));
}

bool MetadataParser::ParsePlannerData(PickleId id) {
  if (graph_.is_none(id)) return true;
  if (graph_.kind(id) != PickleKind::kDict) return Ignore("planner_data");
  auto& paths = metadata_.planner_data.emplace();
  const auto items = graph_.items(id);
  // As many places as MetadataScanner takes for a file that it reads.
  paths.reserve(std::max(items.size() / 2, metadata_.entries().size()));
  for (size_t i = 0; i < items.size(); i += 2) {
    std::optional<ObjectPath> path;
    const bool is_text = graph_.kind(items[i]) == PickleKind::kString;
    if (is_text && !ParsePath(items[i + 1], &path)) return false;
    if (!path) {
      if (!Ignore("planner_data")) return false;
      continue;
    }
    const std::string_view key = graph_.text(items[i]);
    if (!Require(budget_.Take(key.size()))) return false;
    const auto [entry, is_new] =
        paths.insert_or_assign(std::string(key), *std::move(path));
    if (IsCrowded(paths, entry)) {
      return decoder_.Fail("planner_data has keys that no table holds apart");
    }
  }
  return true;
}

/// A tuple (or list) of str and int, nullopt for anything else.
bool MetadataParser::ParsePath(PickleId id, std::optional<ObjectPath>* path) {
  const PickleKind kind = graph_.kind(id);
  if (kind != PickleKind::kTuple && kind != PickleKind::kList) return true;
  ObjectPath parsed;
  for (PickleId item : graph_.items(id)) {
    std::string_view key;
    if (graph_.kind(item) == PickleKind::kString) {
      key = graph_.text(item);
    } else if (graph_.kind(item) != PickleKind::kInt) {
      return true;
    }
    if (!Require(budget_.TakeElement(key))) return false;
    if (graph_.kind(item) == PickleKind::kInt) {
      parsed.emplace_back(graph_[item].integer);
    } else {
      parsed.emplace_back(std::string(key));
    }
  }
  *path = std::move(parsed);
  return true;
}

bool MetadataParser::ParseStorageMeta(PickleId id) {
  if (graph_.is_none(id)) return true;
  if (!graph_.Is(id, PickleKind::kObject, PickleGlobal::kStorageMeta)) {
    return Ignore("storage_meta");
  }
  StorageMeta& meta = metadata_.storage_meta.emplace();
  const PickleId state = graph_.state(id);
  if (state == kNoPickleId) return true;
  if (graph_.kind(state) != PickleKind::kDict) return Ignore("storage_meta");
  const auto items = graph_.items(state);
  for (size_t i = 0; i < items.size(); i += 2) {
    const std::string_view name = graph_.kind(items[i]) == PickleKind::kString
                                      ? graph_.text(items[i])
                                      : "";
    if (!ParseStorageMetaAttribute(name, items[i + 1], &meta)) return false;
  }
  return true;
}

bool MetadataParser::ParseStorageMetaAttribute(std::string_view name,
                                               PickleId value,
                                               StorageMeta* meta) {
  if (name == "checkpoint_id") {
    if (!ParsePathObject(value, &meta->checkpoint_id)) return false;
    return meta->checkpoint_id ||
           ParseOptionalString(value, "storage_meta.checkpoint_id",
                               &meta->checkpoint_id);
  }
  if (name == "save_id") {
    return ParseOptionalString(value, "storage_meta.save_id", &meta->save_id);
  }
  if (name == "load_id") {
    return ParseOptionalString(value, "storage_meta.load_id", &meta->load_id);
  }
  if (name == "modules") return ParseModules(value, &meta->modules);
  return Ignore("storage_meta." + std::string(name));
}

bool MetadataParser::ParseModules(PickleId id,
                                  std::vector<std::string>* modules) {
  const PickleKind kind = graph_.kind(id);
  if (kind == PickleKind::kNone) return true;
  if (kind != PickleKind::kList && kind != PickleKind::kTuple) {
    return Ignore("storage_meta.modules");
  }
  for (PickleId item : graph_.items(id)) {
    if (graph_.kind(item) != PickleKind::kString) {
      if (!Ignore("storage_meta.modules")) return false;
      continue;
    }
    if (!Require(budget_.TakeElement(graph_.text(item)))) return false;
    modules->emplace_back(graph_.text(item));
  }
  return true;
}

bool MetadataParser::ParseOptionalString(PickleId id, std::string_view name,
                                         std::optional<std::string>* text) {
  text->reset();
  if (graph_.kind(id) != PickleKind::kString) {
    return graph_.is_none(id) || Ignore(name);
  }
  if (!Require(budget_.Take(graph_.text(id).size()))) return false;
  *text = graph_.text(id);
  return true;
}

/// A pathlib path, nullopt for anything else.
bool MetadataParser::ParsePathObject(PickleId id,
                                     std::optional<std::string>* path) {
  path->reset();
  if (graph_.kind(id) != PickleKind::kReduce) return true;
  const PickleGlobal type = graph_.callable_global(id);
  if (type != PickleGlobal::kPosixPath && type != PickleGlobal::kWindowsPath) {
    return true;
  }
  std::vector<std::string_view> parts;
  for (PickleId part : graph_.items(graph_.arguments(id))) {
    if (graph_.kind(part) != PickleKind::kString) return true;
    if (!Require(budget_.TakeElement(graph_.text(part)))) return false;
    parts.push_back(graph_.text(part));
  }
  *path = JoinPathParts(type, parts);
  return true;
}

}  // namespace dcp
