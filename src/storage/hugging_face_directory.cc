#include "storage/hugging_face_directory.h"

#include <algorithm>
#include <cstdint>
#include <map>
#include <optional>
#include <string_view>
#include <utility>
#include <vector>

#include "format/safetensors_index.h"
#include "format/safetensors_shards.h"
#include "storage/hugging_face_builder.h"
#include "storage/read_root.h"

namespace dcp {
namespace {

constexpr std::string_view kFileSuffix = ".safetensors";
constexpr std::string_view kIndexSuffix = ".safetensors.index.json";

/// The names of the entries that end in `suffix`, sorted: every rank and every
/// run sees them in one order.
std::vector<std::string> NamesWith(std::string_view suffix,
                                   std::span<const DirectoryEntry> entries) {
  std::vector<std::string> names;
  for (const DirectoryEntry& entry : entries) {
    if (entry.kind != FileKind::kDirectory && entry.name.ends_with(suffix)) {
      names.push_back(entry.name);
    }
  }
  std::sort(names.begin(), names.end());
  return names;
}

/// The index to go by, nullopt if there is none.
StatusOr<std::optional<std::string>> ChooseIndex(
    std::span<const DirectoryEntry> entries, const std::string& directory) {
  std::vector<std::string> names = NamesWith(kIndexSuffix, entries);
  if (names.empty()) return std::nullopt;
  if (std::binary_search(names.begin(), names.end(), kSafetensorsIndexName)) {
    return std::string(kSafetensorsIndexName);
  }
  if (names.size() == 1) return std::move(names[0]);
  return InvalidArgument("there are several indices in " + directory + " (" +
                         names[0] + ", " + names[1] + "), and none is called " +
                         std::string(kSafetensorsIndexName));
}

/// The keys that `index` lists, by the file that has them.
std::map<std::string, std::vector<std::string>> ByFile(
    const SafetensorsIndex& index) {
  std::map<std::string, std::vector<std::string>> files;
  for (const auto& [key, name] : index.weight_map) files[name].push_back(key);
  return files;
}

Status AddIndexed(FileSystem& file_system, const std::string& path,
                  const std::string& root, HuggingFaceBuilder* builder) {
  DCP_ASSIGN_OR_RETURN(
      const std::string text,
      ReadFile(file_system, path,
               static_cast<int64_t>(kMaxSafetensorsIndexNbytes),
               {.beneath = root}));
  const StatusOr<SafetensorsIndex> index = ParseSafetensorsIndex(text);
  if (!index.ok()) {
    return CorruptionError(Message(index.status()),
                           {.op = "read", .path = path});
  }
  for (const auto& [name, keys] : ByFile(*index)) {
    DCP_RETURN_IF_ERROR(
        Annotate(builder->AddFile(name, &keys), "by the index " + path));
  }
  return absl::OkStatus();
}

Status MissingFile(const std::string& needed, const std::string& name,
                   const std::string& directory) {
  return CorruptionError("there is no index, and " + needed +
                             ", which belongs to " + name + ", is missing",
                         {.op = "list", .path = directory});
}

/// A name such as model-00001-of-00003.safetensors says how many there are: a
/// save or a download that is under way has not yet written its index, and
/// maybe not all files.
Status RequireAll(const std::vector<std::string>& names,
                  const std::string& directory) {
  for (const std::string& name : names) {
    const auto parsed = ParseSafetensorsFileName(name);
    if (!parsed || parsed->number == 0) continue;
    const std::string needed =
        FormatSafetensorsFileName({.stem = parsed->stem,
                                   .number = parsed->number % parsed->count + 1,
                                   .count = parsed->count});
    if (!std::binary_search(names.begin(), names.end(), needed)) {
      return MissingFile(needed, name, directory);
    }
  }
  return absl::OkStatus();
}

}  // namespace

bool HasSafetensors(std::span<const DirectoryEntry> entries) {
  return !NamesWith(kFileSuffix, entries).empty() ||
         !NamesWith(kIndexSuffix, entries).empty();
}

StatusOr<Metadata> ReadHuggingFaceMetadata(FileSystem& file_system,
                                           const std::string& directory) {
  DCP_ASSIGN_OR_RETURN(const std::vector<DirectoryEntry> entries,
                       file_system.List(directory));
  HuggingFaceBuilder builder(file_system, directory);
  DCP_ASSIGN_OR_RETURN(const std::optional<std::string> index,
                       ChooseIndex(entries, directory));
  if (index) {
    DCP_RETURN_IF_ERROR(AddIndexed(file_system, JoinPath(directory, *index),
                                   ReadRoot(directory), &builder));
    return std::move(builder).Take();
  }
  const std::vector<std::string> names = NamesWith(kFileSuffix, entries);
  if (names.empty()) {
    return NotFound("there is no safetensors file in " + directory);
  }
  for (const std::string& name : names) {
    DCP_RETURN_IF_ERROR(builder.AddFile(name, nullptr));
  }
  DCP_RETURN_IF_ERROR(RequireAll(builder.whole_files(), directory));
  return std::move(builder).Take();
}

}  // namespace dcp
