#include "format/indexed_rest.h"

#include <algorithm>
#include <optional>
#include <utility>
#include <vector>

#include "base/wire.h"
#include "format/possible_values.h"

namespace dcp {
namespace {

using PlannerEntry = std::pair<const std::string, ObjectPath>;

void PutOptional(const std::optional<std::string>& text, WireWriter* out) {
  out->PutU8(text ? 1 : 0);
  if (text) out->PutString(*text);
}

/// A byte that is 0 or 1: which of two things follows.
bool GetFlag(WireReader* in) {
  const uint8_t presence = in->U8();
  if (presence > 1) in->Fail();
  return presence == 1;
}

std::optional<std::string> GetOptional(WireReader* in) {
  if (!GetFlag(in)) return std::nullopt;
  return std::string(in->String());
}

void PutStrings(const std::vector<std::string>& strings, WireWriter* out) {
  out->PutVarint(strings.size());
  for (const std::string& text : strings) out->PutString(text);
}

std::vector<std::string> GetStrings(WireReader* in) {
  std::vector<std::string> strings(in->Count(1));
  for (std::string& text : strings) text = in->String();
  return strings;
}

void PutPath(const ObjectPath& path, WireWriter* out) {
  out->PutVarint(path.size());
  for (const PathItem& item : path) {
    out->PutU8(static_cast<uint8_t>(item.index()));
    if (const auto* key = std::get_if<std::string>(&item)) {
      out->PutString(*key);
    } else {
      out->PutSigned(std::get<int64_t>(item));
    }
  }
}

ObjectPath GetPath(WireReader* in) {
  ObjectPath path(in->Count(2));
  for (PathItem& item : path) {
    if (GetFlag(in)) {
      item = in->Signed();
    } else {
      item = std::string(in->String());
    }
  }
  return path;
}

void PutPlannerData(const Metadata& metadata, WireWriter* out) {
  out->PutU8(metadata.planner_data ? 1 : 0);
  if (!metadata.planner_data) return;
  std::vector<const PlannerEntry*> sorted;
  sorted.reserve(metadata.planner_data->size());
  for (const PlannerEntry& entry : *metadata.planner_data) {
    sorted.push_back(&entry);
  }
  std::sort(sorted.begin(), sorted.end(),
            [](const auto* a, const auto* b) { return a->first < b->first; });
  out->PutVarint(sorted.size());
  for (const PlannerEntry* entry : sorted) {
    out->PutString(entry->first);
    PutPath(entry->second, out);
  }
}

void GetPlannerData(WireReader* in, Metadata* metadata) {
  if (!GetFlag(in)) return;
  auto& paths = metadata->planner_data.emplace();
  const size_t count = in->Count(2);
  for (size_t i = 0; i < count && in->ok(); ++i) {
    std::string key(in->String());
    if (!paths.emplace(std::move(key), GetPath(in)).second) in->Fail();
  }
}

void PutStrays(std::span<const PlaceTable::Stray> strays, WireWriter* out) {
  out->PutVarint(strays.size());
  for (const auto& [index, info] : strays) {
    out->PutString(index.fqn);
    out->PutU8(index.offset ? 1 : 0);
    if (index.offset) out->PutDims(*index.offset);
    out->PutU8(index.index ? 1 : 0);
    if (index.index) out->PutSigned(*index.index);
    out->PutString(info.relative_path);
    out->PutSigned(info.offset);
    out->PutSigned(info.length);
    PutStrings(info.transform_descriptors, out);
  }
}

void GetStrays(WireReader* in, Metadata* metadata) {
  const size_t count = in->Count(7);
  for (size_t i = 0; i < count && in->ok(); ++i) {
    MetadataIndex index{.fqn = std::string(in->String())};
    if (GetFlag(in)) index.offset = in->GetDims();
    if (GetFlag(in)) index.index = in->Signed();
    StorageInfo info{.relative_path = std::string(in->String())};
    info.offset = in->Signed();
    info.length = in->Signed();
    info.transform_descriptors = GetStrings(in);
    if (!IsPossiblePlace(info) ||
        !metadata->storage_data.emplace(std::move(index), std::move(info))
             .second) {
      in->Fail();
    }
  }
}

}  // namespace

std::string SerializeRest(const Metadata& metadata,
                          std::span<const PlaceTable::Stray> strays) {
  WireWriter out;
  PutOptional(metadata.version, &out);
  out.PutU8(metadata.storage_meta ? 1 : 0);
  if (metadata.storage_meta) {
    PutOptional(metadata.storage_meta->checkpoint_id, &out);
    PutOptional(metadata.storage_meta->save_id, &out);
    PutOptional(metadata.storage_meta->load_id, &out);
    PutStrings(metadata.storage_meta->modules, &out);
  }
  PutPlannerData(metadata, &out);
  PutStrays(strays, &out);
  return std::move(out).Take();
}

Status ParseRest(std::string_view data, Metadata* metadata) {
  WireReader in(data, "the rest of indexed metadata");
  metadata->version = GetOptional(&in);
  if (GetFlag(&in)) {
    StorageMeta& meta = metadata->storage_meta.emplace();
    meta.checkpoint_id = GetOptional(&in);
    meta.save_id = GetOptional(&in);
    meta.load_id = GetOptional(&in);
    meta.modules = GetStrings(&in);
  }
  GetPlannerData(&in, metadata);
  GetStrays(&in, metadata);
  return in.Finish();
}

}  // namespace dcp
