// Commit: how written data becomes the checkpoint. src/checkpoint/COMMIT.md
// tells the whole protocol.

#ifndef DCP_STORAGE_COMMIT_H_
#define DCP_STORAGE_COMMIT_H_

#include <string>
#include <string_view>
#include <vector>

#include "absl/functional/function_ref.h"
#include "dcp/file_system.h"
#include "dcp/status.h"

namespace dcp {

struct CommitRequest {
  std::string directory;
  /// ".metadata", or "__<rank>.metadata" where ranks do not coordinate.
  std::string metadata_name;
  std::string_view metadata;
  std::string save_id;  ///< names the sidecar
  std::string sidecar;  ///< empty: the checkpoint has none
  /// Indexed metadata, which the sidecar then names; empty: there are none.
  std::string_view index = {};
  SyncMode sync = SyncMode::kSync;
};

/// How far a commit got.
struct CommitProgress {
  /// From the step that may publish on the data files belong to what a reader
  /// may see, whatever that step has returned; unless the system has refused it
  /// before it did anything (EACCES, EPERM, EROFS).
  bool attempted = false;
  /// Names of the files that the commit made in the directory.
  std::vector<std::string> created;

  /// Takes the step that may publish: one call of the file system.
  Status Attempt(absl::FunctionRef<Status()> publish);
};

/// Publishes a checkpoint whose data files are complete (and synced): writes
/// the index, the sidecar, then the metadata under a temporary name, then
/// renames it over `metadata_name`; with a sync between the steps. Where the
/// file system has no atomic rename, the metadata is written last under its own
/// name.
/// \error kAlreadyExists  another save used the sidecar's name; its file stays
/// \error kResourceExhausted  a file would be larger than loads read
///     (limits.h); nothing was written
Status Commit(FileSystem& file_system, const CommitRequest& request,
              CommitProgress* progress);

/// Removes files of `names` in `directory`, as far as that goes. What remains
/// belongs to no metadata, and later saves choose other names.
/// \error of the first that is still there
Status RemoveFiles(FileSystem& file_system, const std::string& directory,
                   const std::vector<std::string>& names);

}  // namespace dcp

#endif  // DCP_STORAGE_COMMIT_H_
