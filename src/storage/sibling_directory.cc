// What is in a sibling, whichever way a save that made it died:
//
// 1. Before the exchange: a part of the new checkpoint, and second names of the
//    user's files. All of that can go.
// 2. After it: the old checkpoint, and the user's files, of which some may have
//    come after the others were linked. The sidecar of the save that made the
//    sibling lies in the checkpoint's directory then, not in the sibling.
//    These files are linked there before anything is removed. The index goes
//    last, after a sync, since it tells what is the checkpoint's.
//
// Whether a sibling can take the directory's place is tried, not guessed: two
// directories in it are exchanged, and the user's files get second names in it,
// which link(2) refuses across mounts, so that a mount point is found out, too.
// It is made with the attributes of the directory, which must be no link.

#include "storage/sibling_directory.h"

#include <algorithm>
#include <optional>
#include <utility>

#include "format/file_names.h"
#include "io/paths.h"
#include "storage/leftovers.h"
#include "storage/replaced_list.h"
#include "storage/safetensors_survey.h"

namespace dcp {
namespace {

/// The name of `directory`, empty if its path ends in none.
std::string NameOf(const std::string& directory) {
  std::string name = LastName(directory);
  if (name == "." || name == "..") return {};
  return name;
}

Status TryExchange(FileSystem& fs, const std::string& sibling) {
  const std::string a = JoinPath(sibling, "a");
  const std::string b = JoinPath(sibling, "b");
  Status status = fs.MakeDirectories(a);
  if (status.ok()) status = fs.MakeDirectories(b);
  if (status.ok()) status = fs.Exchange(a, b);
  status.Update(fs.RemoveDirectory(a));
  status.Update(fs.RemoveDirectory(b));
  return status;
}

Status TryLinks(FileSystem& fs, const std::string& directory,
                const std::string& sibling,
                std::span<const std::string> names) {
  for (const std::string& name : names) {
    const std::string link = JoinPath(sibling, name);
    DCP_RETURN_IF_ERROR(fs.Link(JoinPath(directory, name), link));
    DCP_RETURN_IF_ERROR(fs.Remove(link));
  }
  return absl::OkStatus();
}

bool IsIndexOrSidecar(std::string_view name) {
  return name.ends_with(".index.json") || IsSidecarName(name);
}

/// Gives what is called `entry` in `old` that name in `directory`. Returns
/// whether it had to.
StatusOr<bool> CarryOver(FileSystem& fs, const std::string& old,
                         const std::string& directory,
                         const DirectoryEntry& entry) {
  const std::string from = JoinPath(old, entry.name);
  const std::string to = JoinPath(directory, entry.name);
  DCP_ASSIGN_OR_RETURN(const bool exists, fs.Exists(to));
  if (exists) return false;
  // A directory has one name only.
  const Status carried =
      entry.kind == FileKind::kFile ? fs.Link(from, to) : fs.Rename(from, to);
  // Somebody was faster.
  if (carried.code() == absl::StatusCode::kAlreadyExists) return false;
  DCP_RETURN_IF_ERROR(carried);
  return true;
}

Status SyncNames(FileSystem& fs, const std::string& directory, SyncMode sync) {
  if (sync == SyncMode::kNone || !fs.traits().directory_sync) {
    return absl::OkStatus();
  }
  return fs.SyncDirectory(directory);
}

enum class Which : uint8_t { kIndexesAndSidecars, kOthers };
Status RemoveSome(FileSystem& fs, const std::string& old,
                  std::span<const DirectoryEntry> entries, Which which) {
  const bool of_index = which == Which::kIndexesAndSidecars;
  for (const DirectoryEntry& entry : entries) {
    if (entry.kind != FileKind::kFile ||
        IsIndexOrSidecar(entry.name) != of_index) {
      continue;
    }
    DCP_RETURN_IF_ERROR(fs.Remove(JoinPath(old, entry.name)));
  }
  return absl::OkStatus();
}

/// Point 2 of the essay.
Status RemoveOldDirectory(FileSystem& fs, const std::string& directory,
                          const std::string& old, SyncMode sync) {
  DCP_ASSIGN_OR_RETURN(const auto entries, fs.List(old));
  DCP_ASSIGN_OR_RETURN(const std::vector<std::string> files,
                       FilesToCarry(fs, old, entries));
  bool is_changed = false;
  for (const DirectoryEntry& entry : entries) {
    const bool is_users =
        entry.kind != FileKind::kFile ||
        std::find(files.begin(), files.end(), entry.name) != files.end();
    if (!is_users) continue;
    DCP_ASSIGN_OR_RETURN(const bool carried,
                         CarryOver(fs, old, directory, entry));
    is_changed = is_changed || carried;
  }
  if (is_changed) DCP_RETURN_IF_ERROR(SyncNames(fs, directory, sync));
  DCP_RETURN_IF_ERROR(RemoveSome(fs, old, entries, Which::kOthers));
  DCP_RETURN_IF_ERROR(SyncNames(fs, old, sync));
  DCP_RETURN_IF_ERROR(RemoveSome(fs, old, entries, Which::kIndexesAndSidecars));
  return fs.RemoveDirectory(old);
}

}  // namespace

StatusOr<std::string> SiblingPath(const std::string& directory,
                                  std::string_view save_id) {
  const std::string name = NameOf(directory);
  if (name.empty()) {
    return Unimplemented(directory + " is no name of a directory");
  }
  return JoinPath(ParentPath(directory), SiblingDirectoryName(name, save_id));
}

StatusOr<std::vector<std::string>> FilesToCarry(
    FileSystem& file_system, const std::string& directory,
    std::span<const DirectoryEntry> entries) {
  const SafetensorsSurvey survey =
      SurveySafetensors(file_system, directory, entries);
  DCP_RETURN_IF_ERROR(survey.doubt);
  std::vector<std::string> names;
  for (const DirectoryEntry& entry : entries) {
    const bool is_leftover =
        std::binary_search(survey.leftovers.begin(), survey.leftovers.end(),
                           entry.name) ||
        (CouldBeOurs(entry.name) && !ParseDataFileName(entry.name));
    if (entry.kind == FileKind::kFile && !is_leftover &&
        !survey.replaced.contains(entry.name)) {
      names.push_back(entry.name);
    }
  }
  return names;
}

Status MakeSibling(FileSystem& file_system, const std::string& directory,
                   const std::string& sibling,
                   std::span<const std::string> carried) {
  DCP_RETURN_IF_ERROR(file_system.MakeDirectoryLike(sibling, directory));
  Status status = TryExchange(file_system, sibling);
  if (status.ok()) status = TryLinks(file_system, directory, sibling, carried);
  if (!status.ok()) RemoveWithFiles(file_system, sibling);
  return status;
}

std::vector<Sibling> FindSiblings(FileSystem& file_system,
                                  const std::string& directory) {
  std::vector<Sibling> siblings;
  const std::string name = NameOf(directory);
  if (name.empty()) return siblings;
  const std::string parent = ParentPath(directory);
  const auto entries = file_system.List(parent);
  if (!entries.ok()) return siblings;
  for (const DirectoryEntry& entry : *entries) {
    // A save makes no links; what one leads to may be anybody's.
    if (entry.kind != FileKind::kDirectory || entry.is_link ||
        !SiblingSaveIdOf(entry.name, name)) {
      continue;
    }
    Sibling sibling{.name = entry.name, .path = JoinPath(parent, entry.name)};
    const auto files = file_system.List(sibling.path);
    if (files.ok()) {
      for (const DirectoryEntry& file : *files) {
        sibling.nbytes +=
            SizeOfFile(file_system, sibling.path, file.name).value_or(0);
      }
    }
    siblings.push_back(std::move(sibling));
  }
  return siblings;
}

void RemoveSibling(FileSystem& file_system, const std::string& directory,
                   const std::string& sibling, SyncMode sync) {
  const std::string name = NameOf(sibling);
  const auto save_id = SiblingSaveIdOf(name, NameOf(directory));
  if (!save_id) return;
  const auto was_exchanged =
      file_system.Exists(JoinPath(directory, SidecarName(*save_id)));
  if (!was_exchanged.ok()) return;
  if (*was_exchanged) {
    // What could not be carried over stays.
    RemoveOldDirectory(file_system, directory, sibling, sync).IgnoreError();
  } else {
    RemoveWithFiles(file_system, sibling);
  }
}

void RemoveWithFiles(FileSystem& file_system, const std::string& directory) {
  const auto entries = file_system.List(directory);
  if (!entries.ok()) return;
  for (const DirectoryEntry& entry : *entries) {
    const std::string path = JoinPath(directory, entry.name);
    if (entry.kind == FileKind::kDirectory) {
      file_system.RemoveDirectory(path).IgnoreError();
    } else {
      file_system.Remove(path).IgnoreError();
    }
  }
  file_system.RemoveDirectory(directory).IgnoreError();
}

}  // namespace dcp
