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
#include "storage/hugging_face_manifest.h"
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

/// The keys that `index` lists, by the file that has them.
std::map<std::string, std::vector<std::string>> ByFile(
    const SafetensorsIndex& index) {
  std::map<std::string, std::vector<std::string>> files;
  for (const auto& [key, name] : index.weight_map) files[name].push_back(key);
  return files;
}

/// An open directory, and what was read of it.
struct Reading {
  FileSystem& file_system;
  const std::string& directory;
  std::span<const DirectoryEntry> entries;
  SidecarUse use;
  const OnFileDamage& on_damage;
  HuggingFaceBuilder& builder;
  Sidecar& sidecar;

  /// What to do about `status` of a file.
  Status Judge(const Status& status) const {
    return status.ok() || !on_damage ? status : on_damage(status);
  }

  /// Has the sidecar of what is read, and checks headers by it if asked.
  void Use(Sidecar found) const {
    sidecar = std::move(found);
    if (use == SidecarUse::kCheck) builder.CheckBy(sidecar);
  }
};

Status AddIndexed(const Reading& reading, const std::string& name) {
  const std::string path = JoinPath(reading.directory, name);
  DCP_ASSIGN_OR_RETURN(
      const std::string text,
      ReadFile(reading.file_system, path,
               static_cast<int64_t>(kMaxSafetensorsIndexNbytes),
               {.beneath = ReadRoot(reading.directory)}));
  const StatusOr<SafetensorsIndex> index = ParseSafetensorsIndex(text);
  if (!index.ok()) {
    return CorruptionError(Message(index.status()),
                           {.op = "read", .path = path});
  }
  if (reading.use != SidecarUse::kIgnore) {
    auto sidecar =
        SidecarOfIndex(reading.file_system, reading.directory, reading.entries,
                       {.path = path, .text = text, .index = *index});
    DCP_RETURN_IF_ERROR(reading.Judge(sidecar.status()));
    if (sidecar.ok() && *sidecar) reading.Use(**std::move(sidecar));
  }
  for (const auto& [file, keys] : ByFile(*index)) {
    DCP_RETURN_IF_ERROR(reading.Judge(Annotate(
        reading.builder.AddFile(file, &keys), "by the index " + path)));
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

Status NoneThatCounts(const UnlistedFiles& files,
                      const std::string& directory) {
  const std::string none = "there is no safetensors file in " + directory;
  if (files.unpublished.empty()) return NotFound(none);
  return NotFound(none + " but " + files.unpublished.front() +
                  " and others of a save that has not published them, or whose "
                  "index is gone");
}

Status AddUnlisted(const Reading& reading) {
  const std::vector<std::string> all = SafetensorsNames(reading.entries);
  StatusOr<UnlistedFiles> sorted = SortOutFiles(
      reading.file_system, reading.directory, reading.entries, all);
  DCP_RETURN_IF_ERROR(reading.Judge(sorted.status()));
  UnlistedFiles files =
      sorted.ok() ? *std::move(sorted) : UnlistedFiles{.names = all};
  if (files.names.empty()) return NoneThatCounts(files, reading.directory);
  if (reading.use != SidecarUse::kIgnore) reading.Use(std::move(files.sidecar));
  for (const std::string& name : files.names) {
    DCP_RETURN_IF_ERROR(reading.Judge(reading.builder.AddFile(name, nullptr)));
  }
  return reading.Judge(
      RequireAll(reading.builder.whole_files(), reading.directory));
}

}  // namespace

StatusOr<std::optional<std::string>> ChooseSafetensorsIndex(
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

std::vector<std::string> SafetensorsNames(
    std::span<const DirectoryEntry> entries) {
  return NamesWith(kFileSuffix, entries);
}

bool HasSafetensors(std::span<const DirectoryEntry> entries) {
  return !NamesWith(kFileSuffix, entries).empty() ||
         !NamesWith(kIndexSuffix, entries).empty();
}

StatusOr<HuggingFaceCheckpoint> ReadHuggingFaceDirectory(
    FileSystem& file_system, const std::string& directory, SidecarUse use,
    const OnFileDamage& on_damage) {
  DCP_ASSIGN_OR_RETURN(const std::vector<DirectoryEntry> entries,
                       file_system.List(directory));
  DCP_ASSIGN_OR_RETURN(const std::optional<std::string> index,
                       ChooseSafetensorsIndex(entries, directory));
  HuggingFaceCheckpoint checkpoint;
  HuggingFaceBuilder builder(file_system, directory);
  const Reading reading{.file_system = file_system,
                        .directory = directory,
                        .entries = entries,
                        .use = use,
                        .on_damage = on_damage,
                        .builder = builder,
                        .sidecar = checkpoint.sidecar};
  DCP_RETURN_IF_ERROR(index ? AddIndexed(reading, *index)
                            : AddUnlisted(reading));
  checkpoint.metadata = std::move(builder).Take();
  return checkpoint;
}

StatusOr<HuggingFaceCheckpoint> ReadHuggingFaceFile(
    FileSystem& file_system, const std::string& directory,
    const std::string& name) {
  HuggingFaceBuilder builder(file_system, directory);
  DCP_RETURN_IF_ERROR(builder.AddFile(name, nullptr));
  return HuggingFaceCheckpoint{.metadata = std::move(builder).Take()};
}

}  // namespace dcp
