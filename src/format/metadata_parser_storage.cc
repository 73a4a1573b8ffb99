// storage_data, planner_data and storage_meta.

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
      if (!has_fqn) return false;
      index->fqn = context_;
    } else if (graph_.is_none(value)) {
      continue;
    } else if (name == "offset") {
      if (!decoder_.Ints(value, "offset", &index->offset.emplace())) {
        return false;
      }
    } else if (name == "index") {
      if (!decoder_.Int(value, "index", &index->index.emplace())) return false;
    } else {
      Ignore("MetadataIndex." + std::string(name));
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
      if (!decoder_.String(value, "relative_path", &path)) return false;
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
    } else {
      Ignore("_StorageInfo." + std::string(name));
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
    if (!decoder_.String(item, "a transform descriptor", &descriptor)) {
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

void MetadataParser::ParsePlannerData(PickleId id) {
  if (graph_.is_none(id)) return;
  if (graph_.kind(id) != PickleKind::kDict) return Ignore("planner_data");
  auto& paths = metadata_.planner_data.emplace();
  const auto items = graph_.items(id);
  paths.reserve(items.size());
  for (size_t i = 0; i < items.size(); i += 2) {
    std::optional<ObjectPath> path;
    if (graph_.kind(items[i]) == PickleKind::kString) {
      path = ParsePath(items[i + 1]);
    }
    if (path) {
      paths.insert_or_assign(std::string(graph_.text(items[i])),
                             *std::move(path));
    } else {
      Ignore("planner_data");
    }
  }
}

/// A tuple (or list) of str and int, nullopt for anything else.
std::optional<ObjectPath> MetadataParser::ParsePath(PickleId id) const {
  const PickleKind kind = graph_.kind(id);
  if (kind != PickleKind::kTuple && kind != PickleKind::kList) {
    return std::nullopt;
  }
  ObjectPath path;
  path.reserve(graph_.items(id).size());
  for (PickleId item : graph_.items(id)) {
    if (graph_.kind(item) == PickleKind::kString) {
      path.emplace_back(std::string(graph_.text(item)));
    } else if (graph_.kind(item) == PickleKind::kInt) {
      path.emplace_back(graph_[item].integer);
    } else {
      return std::nullopt;
    }
  }
  return path;
}

void MetadataParser::ParseStorageMeta(PickleId id) {
  if (graph_.is_none(id)) return;
  if (!graph_.Is(id, PickleKind::kObject, PickleGlobal::kStorageMeta)) {
    return Ignore("storage_meta");
  }
  StorageMeta& meta = metadata_.storage_meta.emplace();
  const PickleId state = graph_.state(id);
  if (state == kNoPickleId) return;
  if (graph_.kind(state) != PickleKind::kDict) return Ignore("storage_meta");
  const auto items = graph_.items(state);
  for (size_t i = 0; i < items.size(); i += 2) {
    const PickleId value = items[i + 1];
    const std::string_view name = graph_.kind(items[i]) == PickleKind::kString
                                      ? graph_.text(items[i])
                                      : "";
    if (name == "checkpoint_id") {
      meta.checkpoint_id = ParsePathObject(value);
      if (!meta.checkpoint_id) {
        meta.checkpoint_id =
            ParseOptionalString(value, "storage_meta.checkpoint_id");
      }
    } else if (name == "save_id") {
      meta.save_id = ParseOptionalString(value, "storage_meta.save_id");
    } else if (name == "load_id") {
      meta.load_id = ParseOptionalString(value, "storage_meta.load_id");
    } else if (name == "modules") {
      ParseModules(value, &meta.modules);
    } else {
      Ignore("storage_meta." + std::string(name));
    }
  }
}

void MetadataParser::ParseModules(PickleId id,
                                  std::vector<std::string>* modules) {
  const PickleKind kind = graph_.kind(id);
  if (kind == PickleKind::kNone) return;
  if (kind != PickleKind::kList && kind != PickleKind::kTuple) {
    return Ignore("storage_meta.modules");
  }
  for (PickleId item : graph_.items(id)) {
    if (graph_.kind(item) == PickleKind::kString) {
      modules->emplace_back(graph_.text(item));
    } else {
      Ignore("storage_meta.modules");
    }
  }
}

std::optional<std::string> MetadataParser::ParseOptionalString(
    PickleId id, std::string_view name) {
  if (graph_.kind(id) == PickleKind::kString) {
    return std::string(graph_.text(id));
  }
  if (!graph_.is_none(id)) Ignore(name);
  return std::nullopt;
}

/// A pathlib path, nullopt for anything else.
std::optional<std::string> MetadataParser::ParsePathObject(PickleId id) const {
  if (graph_.kind(id) != PickleKind::kReduce) return std::nullopt;
  const PickleGlobal type = graph_.callable_global(id);
  if (type != PickleGlobal::kPosixPath && type != PickleGlobal::kWindowsPath) {
    return std::nullopt;
  }
  std::vector<std::string_view> parts;
  for (PickleId part : graph_.items(graph_.arguments(id))) {
    if (graph_.kind(part) != PickleKind::kString) return std::nullopt;
    parts.push_back(graph_.text(part));
  }
  return JoinPathParts(type, parts);
}

}  // namespace dcp
