#include "storage/leftovers.h"

#include <algorithm>
#include <utility>

#include "dcp/metadata_codec.h"
#include "format/file_names.h"
#include "io/paths.h"
#include "storage/commit.h"
#include "storage/metadata_file.h"

namespace dcp {
namespace {

/// The name in its own directory of a file that a checkpoint calls `path`.
StatusOr<std::string> NameInDirectory(const std::string& path) {
  std::vector<std::string> parts = SplitPath(path);
  if (parts.size() != 1 || parts[0] == ".." || path.front() == '/') {
    return MakeStatus(absl::StatusCode::kFailedPrecondition,
                      "it names a file by the path \"" + path +
                          "\", which may be any of the directory's");
  }
  return std::move(parts[0]);
}

}  // namespace

StatusOr<std::unordered_set<std::string>> PublishedBy(FileSystem& file_system,
                                                      const std::string& path) {
  DCP_ASSIGN_OR_RETURN(const std::string bytes,
                       ReadMetadataBytes(file_system, path, {}));
  StatusOr<Metadata> metadata = ParseMetadata(bytes);
  if (!metadata.ok()) return Annotate(metadata.status(), path);
  std::unordered_set<std::string> names;
  for (const auto& [index, info] : metadata->storage_data) {
    auto name = NameInDirectory(info.relative_path);
    if (!name.ok()) return Annotate(name.status(), path);
    names.insert(*std::move(name));
  }
  const auto& meta = metadata->storage_meta;
  if (meta && meta->save_id && IsDcpcppSaveId(*meta->save_id)) {
    names.insert(SidecarName(*meta->save_id));
    std::string index = IndexedMetadataName(*meta->save_id);
    const auto exists = file_system.Exists(JoinPath(ParentPath(path), index));
    if (exists.value_or(true)) names.insert(std::move(index));
  }
  return names;
}

bool CouldBeOurs(std::string_view name) {
  return ParseDataFileName(name).has_value() || IsSidecarName(name) ||
         IsIndexedMetadataName(name) || IsTemporaryName(name);
}

StatusOr<DirectorySurvey> SurveyDirectory(FileSystem& file_system,
                                          const std::string& directory) {
  DirectorySurvey survey;
  DCP_ASSIGN_OR_RETURN(const std::vector<DirectoryEntry> entries,
                       file_system.List(directory));
  // By name, because some storages cannot list.
  std::vector<std::string> metadata_names = {std::string(kMetadataFileName)};
  for (const DirectoryEntry& entry : entries) {
    if (entry.kind == FileKind::kFile) survey.names.push_back(entry.name);
    if (ParseRankMetadataFileName(entry.name)) {
      metadata_names.push_back(entry.name);
    }
  }
  for (const std::string& name : metadata_names) {
    auto names = PublishedBy(file_system, JoinPath(directory, name));
    if (names.status().code() == absl::StatusCode::kNotFound) continue;
    survey.has_checkpoint = true;
    survey.doubt.Update(names.status());
    if (!names.ok()) continue;
    (name == kMetadataFileName ? survey.published : survey.published_by_ranks)
        .merge(*names);
  }
  survey.safetensors = SurveySafetensors(file_system, directory, entries);
  survey.doubt.Update(survey.safetensors.doubt);
  return survey;
}

std::vector<std::string> FindLeftovers(const DirectorySurvey& survey) {
  std::vector<std::string> leftovers = survey.safetensors.leftovers;
  for (const std::string& name : survey.names) {
    if (CouldBeOurs(name) && !survey.published.contains(name) &&
        !survey.published_by_ranks.contains(name) &&
        !survey.safetensors.sidecars_in_force.contains(name)) {
      leftovers.push_back(name);
    }
  }
  std::sort(leftovers.begin(), leftovers.end());
  leftovers.erase(std::unique(leftovers.begin(), leftovers.end()),
                  leftovers.end());
  return leftovers;
}

Status RemoveLeftoverFiles(FileSystem& file_system,
                           const std::string& directory,
                           std::vector<std::string> names) {
  const auto rest = std::stable_partition(
      names.begin(), names.end(), [](const std::string& name) {
        return !IsSidecarName(name) && !IsTemporaryName(name);
      });
  const std::vector<std::string> last(rest, names.end());
  names.erase(rest, names.end());
  DCP_RETURN_IF_ERROR(RemoveFiles(file_system, directory, names));
  if (!names.empty() && !last.empty() && file_system.traits().directory_sync) {
    DCP_RETURN_IF_ERROR(file_system.SyncDirectory(directory));
  }
  return RemoveFiles(file_system, directory, last);
}

std::vector<std::string> OtherFilesOfRank(
    const std::vector<std::string>& names, int64_t rank,
    const std::unordered_set<std::string>& kept) {
  std::vector<std::string> others;
  for (const std::string& name : names) {
    const auto parsed = ParseDataFileName(name);
    if (parsed && parsed->rank == rank && !kept.contains(name)) {
      others.push_back(name);
    }
  }
  return others;
}

int64_t NextFileIndex(const std::vector<std::string>& names, int64_t rank) {
  int64_t next = 0;
  for (const std::string& name : names) {
    const auto parsed = ParseDataFileName(name);
    if (parsed && parsed->rank == rank)
      next = std::max(next, parsed->index + 1);
  }
  return next;
}

}  // namespace dcp
