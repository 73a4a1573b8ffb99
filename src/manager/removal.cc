// The removal of a step. Whoever is killed in it, and whenever, leaves the step
// whole or gone, and what is left can be told by its name.
//
// 1. A directory without any file of a checkpoint is somebody else's and stays.
//    The others are claimed as by a save (COMMIT.md, "One writer at a time"),
//    so a step into which any process saves stays, too. What dead saves left
//    beside it goes.
// 2. `step-<N>` is renamed to `.step-<N>.removed-<id>`, in one step: from here
//    on it is no step, and a save of step N may begin. Files are not touched
//    before; a reader who has them open goes on.
// 3. The folder is synced. Else a power cut could bring the old name back for
//    what has lost files since.
// 4. Files go, then directories.
//
// After a kill between 2 and 4 the directory stays under its new name, which
// has an id of its own, so that step N may come and go again. Nobody uses what
// is named so: each ApplyRetention, of any manager of the folder, begins with
// removing it.

#include "manager/removal.h"

#include <algorithm>
#include <cerrno>
#include <optional>

#include "base/random_id.h"
#include "format/file_names.h"
#include "io/paths.h"
#include "storage/directory_claim.h"
#include "storage/leftovers.h"
#include "storage/sibling_directory.h"

namespace dcp {
namespace {

constexpr std::string_view kRemoved = ".removed-";

std::string RemovalName(std::string_view step_name) {
  return "." + std::string(step_name) + std::string(kRemoved) + MakeRandomHex();
}

bool IsDirectoryError(const Status& status) {
  const auto detail = GetErrorDetail(status);
  return detail && detail->error_number == EISDIR;
}

bool IsOfACheckpoint(const DirectoryEntry& entry) {
  const std::string_view name = entry.name;
  return name == kMetadataFileName || name.starts_with(".dcpcpp") ||
         name.ends_with(".safetensors") ||
         name.ends_with(".safetensors.index.json") ||
         ParseRankMetadataFileName(name) || CouldBeOurs(name);
}

/// An empty directory is one that a save had just made.
Status RequireACheckpoint(FileSystem& file_system, const std::string& path) {
  DCP_ASSIGN_OR_RETURN(const auto entries, file_system.List(path));
  if (entries.empty() ||
      std::any_of(entries.begin(), entries.end(), IsOfACheckpoint)) {
    return absl::OkStatus();
  }
  return FailedPrecondition("it has no file of a checkpoint, but others");
}

Status UnlessGone(const Status& status) {
  return status.code() == absl::StatusCode::kNotFound ? absl::OkStatus()
                                                      : status;
}

}  // namespace

StatusOr<std::string> TakeStepAway(const StorageEnvironment& environment,
                                   const std::string& path) {
  FileSystem& file_system = *environment.file_system;
  DCP_RETURN_IF_ERROR(RequireACheckpoint(file_system, path));
  const ClaimRequest request{.directory = path,
                             .save_id = "dcpcpp-" + MakeRandomHex()};
  DCP_ASSIGN_OR_RETURN(
      const auto claim,
      ClaimDirectory(environment.file_system, environment.clock, request));
  DCP_RETURN_IF_ERROR(RequireNoOtherKind(file_system, request));
  for (const Sibling& sibling : FindSiblings(file_system, path)) {
    RemoveWithFiles(file_system, sibling.path);
  }
  const std::string folder = ParentPath(path);
  std::string removal = JoinPath(folder, RemovalName(LastName(path)));
  DCP_RETURN_IF_ERROR(file_system.Rename(path, removal));
  DCP_RETURN_IF_ERROR(file_system.SyncDirectory(folder));
  return removal;
}

bool IsRemovalName(std::string_view name) {
  if (!name.starts_with('.')) return false;
  name.remove_prefix(1);
  const size_t end = name.find(kRemoved);
  if (end == name.npos || !ParseStepDirectoryName(name.substr(0, end))) {
    return false;
  }
  name.remove_prefix(end + kRemoved.size());
  return !name.empty() && std::all_of(name.begin(), name.end(), [](char c) {
    return (c >= '0' && c <= '9') || (c >= 'a' && c <= 'f');
  });
}

StatusOr<std::vector<std::string>> FindRemovals(FileSystem& file_system,
                                                const std::string& folder) {
  std::vector<std::string> paths;
  DCP_ASSIGN_OR_RETURN(const bool exists, file_system.Exists(folder));
  if (!exists) return paths;
  DCP_ASSIGN_OR_RETURN(const auto entries, file_system.List(folder));
  for (const DirectoryEntry& entry : entries) {
    if (IsRemovalName(entry.name))
      paths.push_back(JoinPath(folder, entry.name));
  }
  return paths;
}

Status RemoveTree(FileSystem& file_system, const std::string& path) {
  // Only what unlink(2) itself calls a directory is entered: List() calls a
  // link to one a directory, too.
  const Status status = file_system.Remove(path);
  if (!IsDirectoryError(status)) return UnlessGone(status);
  const auto entries = file_system.List(path);
  if (!entries.ok()) return UnlessGone(entries.status());
  for (const DirectoryEntry& entry : *entries) {
    DCP_RETURN_IF_ERROR(RemoveTree(file_system, JoinPath(path, entry.name)));
  }
  return UnlessGone(file_system.RemoveDirectory(path));
}

}  // namespace dcp
