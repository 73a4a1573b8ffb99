// The directory of a checkpoint, before there is anything in it.

#ifndef DCP_STORAGE_CHECKPOINT_DIRECTORY_H_
#define DCP_STORAGE_CHECKPOINT_DIRECTORY_H_

#include <cstdint>
#include <optional>
#include <string>

#include "dcp/file_system.h"
#include "dcp/status.h"
#include "dcp/storage.h"

namespace dcp {

/// Creates `path` and its parents as far as they are missing. With kSync the
/// names of those that were missing are durable when this returns, and that of
/// `path` in any case: whoever made it may have been killed before the sync.
Status MakeCheckpointDirectory(FileSystem& file_system, const std::string& path,
                               SyncMode sync);

/// The step that the directory's name tells; nullopt if it is no
/// `step-<number>`.
std::optional<int64_t> StepOfDirectory(const std::string& path);

/// The file that a save in this role publishes.
std::string MetadataNameOf(const StorageRole& role);

/// Before anything is written.
/// \error kInvalidArgument  what has the name of the file that a save in this
///     role publishes is no file, so that nothing can be published: EISDIR, or
///     EINVAL for a device or the like
Status RequireReplaceable(FileSystem& file_system, const std::string& directory,
                          const StorageRole& role);

/// For saves that replace nothing.
/// \error kFailedPrecondition  a checkpoint is there that this save would
///     replace: one of all ranks, or this rank's own; torch's words, and which
Status RequireNoCheckpoint(FileSystem& file_system,
                           const std::string& directory,
                           const StorageRole& role);

}  // namespace dcp

#endif  // DCP_STORAGE_CHECKPOINT_DIRECTORY_H_
