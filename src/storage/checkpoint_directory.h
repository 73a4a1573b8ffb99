// The directory of a checkpoint, before there is anything in it.

#ifndef DCP_STORAGE_CHECKPOINT_DIRECTORY_H_
#define DCP_STORAGE_CHECKPOINT_DIRECTORY_H_

#include <string>

#include "dcp/file_system.h"
#include "dcp/status.h"

namespace dcp {

/// Creates `path` and its parents as far as they are missing. With kSync the
/// names of those that were missing are durable when this returns, and that of
/// `path` in any case: whoever made it may have been killed before the sync.
Status MakeCheckpointDirectory(FileSystem& file_system, const std::string& path,
                               SyncMode sync);

}  // namespace dcp

#endif  // DCP_STORAGE_CHECKPOINT_DIRECTORY_H_
