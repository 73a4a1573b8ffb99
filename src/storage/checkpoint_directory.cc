#include "storage/checkpoint_directory.h"

#include <cerrno>
#include <cstddef>
#include <string_view>
#include <vector>

#include "format/file_names.h"
#include "io/paths.h"

namespace dcp {
namespace {

Status RequireAbsent(FileSystem& fs, const std::string& directory,
                     std::string_view name) {
  const std::string path = JoinPath(directory, name);
  DCP_ASSIGN_OR_RETURN(const bool exists, fs.Exists(path));
  if (!exists) return absl::OkStatus();
  return FailedPrecondition(
      "Checkpoint already exists and self.overwrite=False. (" + path + ")");
}

}  // namespace

Status MakeCheckpointDirectory(FileSystem& fs, const std::string& path,
                               SyncMode sync) {
  if (sync == SyncMode::kNone || !fs.traits().directory_sync) {
    return fs.MakeDirectories(path);
  }
  std::vector<std::string> holders;  // of the names that are missing
  for (std::string at = path; !ParentPath(at).empty(); at = holders.back()) {
    DCP_ASSIGN_OR_RETURN(const bool exists, fs.Exists(at));
    if (exists) break;
    holders.push_back(ParentPath(at));
    if (holders.back() == ".") break;
  }
  DCP_RETURN_IF_ERROR(fs.MakeDirectories(path));
  for (const std::string& holder : holders) {
    DCP_RETURN_IF_ERROR(fs.SyncDirectory(holder));
  }
  if (!holders.empty() || ParentPath(path).empty()) return absl::OkStatus();
  // A directory that others made may lie where we may not look.
  const Status status = fs.SyncDirectory(ParentPath(path));
  return status.code() == absl::StatusCode::kPermissionDenied ? absl::OkStatus()
                                                              : status;
}

std::optional<int64_t> StepOfDirectory(const std::string& path) {
  const std::vector<std::string> parts = SplitPath(path);
  return parts.empty() ? std::nullopt : ParseStepDirectoryName(parts.back());
}

std::string MetadataNameOf(const StorageRole& role) {
  return role.use_collectives ? std::string(kMetadataFileName)
                              : RankMetadataFileName(role.rank);
}

Status RequireReplaceable(FileSystem& fs, const std::string& directory,
                          const StorageRole& role) {
  const std::string name = MetadataNameOf(role);
  const std::string path = JoinPath(directory, name);
  DCP_ASSIGN_OR_RETURN(const bool exists, fs.Exists(path));
  if (!exists) return absl::OkStatus();
  DCP_ASSIGN_OR_RETURN(const auto entries, fs.List(directory));
  for (const DirectoryEntry& entry : entries) {
    if (entry.name != name) continue;
    if (entry.kind == FileKind::kDirectory) {
      return ErrnoToStatus(EISDIR, {.op = "replace", .path = path});
    }
    if (entry.kind == FileKind::kOther) {
      return Annotate(ErrnoToStatus(EINVAL, {.op = "replace", .path = path}),
                      "it is neither a file nor a link");
    }
  }
  return absl::OkStatus();
}

Status RequireNoCheckpoint(FileSystem& fs, const std::string& directory,
                           const StorageRole& role) {
  DCP_RETURN_IF_ERROR(RequireAbsent(fs, directory, MetadataNameOf(role)));
  DCP_RETURN_IF_ERROR(RequireAbsent(fs, directory, kMetadataFileName));
  if (!role.use_collectives) return absl::OkStatus();
  // Those of ranks that saved for themselves would be replaced as well.
  DCP_ASSIGN_OR_RETURN(const auto entries, fs.List(directory));
  for (const DirectoryEntry& entry : entries) {
    if (!ParseRankMetadataFileName(entry.name)) continue;
    DCP_RETURN_IF_ERROR(RequireAbsent(fs, directory, entry.name));
  }
  return absl::OkStatus();
}

}  // namespace dcp
