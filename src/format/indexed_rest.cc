#include "format/indexed_rest.h"

#include <algorithm>
#include <optional>
#include <unordered_map>
#include <utility>
#include <vector>

#include "base/wire.h"
#include "format/possible_values.h"

namespace dcp {
namespace {

using PlannerEntry = std::pair<const std::string, ObjectPath>;

void PutOptional(const std::optional<std::string>& text, WireWriter* out) {
  out->PutFlag(text.has_value());
  if (text) out->PutString(*text);
}

void PutStrings(const std::vector<std::string>& strings, WireWriter* out) {
  out->PutVarint(strings.size());
  for (const std::string& text : strings) out->PutString(text);
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

void PutPlannerData(const Metadata& metadata, WireWriter* out) {
  out->PutFlag(metadata.planner_data.has_value());
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

void PutStrays(std::span<const PlaceTable::Stray> strays, WireWriter* out) {
  out->PutVarint(strays.size());
  for (const auto& [index, info] : strays) {
    out->PutString(index.fqn);
    out->PutFlag(index.offset.has_value());
    if (index.offset) out->PutDims(*index.offset);
    out->PutFlag(index.index.has_value());
    if (index.index) out->PutSigned(*index.index);
    out->PutString(info.relative_path);
    out->PutSigned(info.offset);
    out->PutSigned(info.length);
    PutStrings(info.transform_descriptors, out);
  }
}

/// Reads the rest, and fails once that asks for more than the budget has. A few
/// bytes of a file may stand for much memory, and take none of a disk.
class RestReader {
 public:
  RestReader(std::string_view data, CopyBudget budget)
      : in_(data, "the rest of indexed metadata"), budget_(budget) {}

  Status Read(Metadata* metadata) && {
    metadata->version = Optional();
    if (in_.Flag()) {
      StorageMeta& meta = metadata->storage_meta.emplace();
      meta.checkpoint_id = Optional();
      meta.save_id = Optional();
      meta.load_id = Optional();
      meta.modules = Strings();
    }
    if (in_.Flag()) PlannerData(&metadata->planner_data.emplace());
    StoredItems(metadata);
    return in_.Finish();
  }

 private:
  void Require(bool is_enough) {
    if (!is_enough) in_.Fail();
  }

  std::optional<std::string> Optional() {
    if (!in_.Flag()) return std::nullopt;
    return std::string(in_.String());
  }

  /// An element of a list of texts.
  std::string Element() {
    const std::string_view text = in_.String();
    Require(budget_.TakeElement(text));
    return std::string(text);
  }

  std::vector<std::string> Strings() {
    std::vector<std::string> strings;
    for (size_t left = in_.Count(1); in_.ok() && left > 0; --left) {
      strings.push_back(Element());
    }
    return strings;
  }

  ObjectPath Path() {
    ObjectPath path;
    for (size_t left = in_.Count(2); in_.ok() && left > 0; --left) {
      if (in_.Flag()) {
        Require(budget_.TakeElement({}));
        path.emplace_back(in_.Signed());
      } else {
        path.emplace_back(Element());
      }
    }
    return path;
  }

  void PlannerData(std::unordered_map<std::string, ObjectPath>* paths) {
    size_t left = in_.Count(2);
    Require(budget_.Take(left * sizeof(void*)));  // the table
    if (in_.ok()) paths->reserve(left);
    for (; in_.ok() && left > 0; --left) {
      std::string key(in_.String());
      Require(budget_.Take(key.size()));
      const auto [entry, is_new] = paths->emplace(std::move(key), Path());
      Require(is_new && !IsCrowded(*paths, entry));
    }
  }

  void StoredItems(Metadata* metadata) {
    for (size_t left = in_.Count(7); in_.ok() && left > 0; --left) {
      MetadataIndex index{.fqn = std::string(in_.String())};
      if (in_.Flag()) index.offset = in_.GetDims();
      if (in_.Flag()) index.index = in_.Signed();
      StorageInfo info{.relative_path = std::string(in_.String())};
      info.offset = in_.Signed();
      info.length = in_.Signed();
      info.transform_descriptors = Strings();
      Require(budget_.Take(sizeof(PlaceTable::Stray)) &&
              IsPossiblePlace(info) &&
              metadata->storage_data.emplace(std::move(index), std::move(info))
                  .second);
    }
  }

  WireReader in_;
  CopyBudget budget_;
};

}  // namespace

std::string SerializeRest(const Metadata& metadata,
                          std::span<const PlaceTable::Stray> strays) {
  WireWriter out;
  PutOptional(metadata.version, &out);
  out.PutFlag(metadata.storage_meta.has_value());
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

Status ParseRest(std::string_view data, CopyBudget budget, Metadata* metadata) {
  return RestReader(data, budget).Read(metadata);
}

}  // namespace dcp
