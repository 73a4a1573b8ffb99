// CleanCheckpoint: removes what killed saves left in a checkpoint directory.
//
// The next save does the same by itself (src/checkpoint/COMMIT.md,
// "Leftovers"); this is for directories into which nobody saves any more.

#ifndef DCP_CLEAN_H_
#define DCP_CLEAN_H_

#include <cstdint>
#include <string>
#include <vector>

#include "dcp/filesystem_storage.h"
#include "dcp/status.h"

namespace dcp {

struct CleanOptions {
  /// Only tells what would be removed.
  bool dry_run = false;
};

struct Leftover {
  /// In the directory; "../" and a name: a directory beside it, with its files.
  std::string name;
  int64_t nbytes = 0;
};

/// The leftovers, sorted by name, directories last; they are removed unless
/// that was not asked.
///
/// Only files count whose names a save could have given and that no metadata in
/// the directory names, safetensors files that its own records tell to be a
/// dead save's, and directories beside it that were to take its place.
/// Published checkpoints and the user's files are not touched.
///
/// \error kNotFound  no such directory
/// \error kAborted  a save is at work there
/// \error kDataLoss  metadata that cannot be read: nobody knows which files it
///     names; nothing is removed
/// \error kFailedPrecondition  data files without any metadata and without the
///     lock of a dead save: their metadata may be on another node; nothing is
///     removed. Or a directory beside it that cannot be emptied
/// Other errors are of a file that could not be removed; others may be gone.
StatusOr<std::vector<Leftover>> CleanCheckpoint(
    const std::string& path, const CleanOptions& options = {},
    StorageEnvironment environment = {});

}  // namespace dcp

#endif  // DCP_CLEAN_H_
