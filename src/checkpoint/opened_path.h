// OpenedPath: a checkpoint of whichever format, by its path.

#ifndef DCP_CHECKPOINT_OPENED_PATH_H_
#define DCP_CHECKPOINT_OPENED_PATH_H_

#include <memory>
#include <optional>
#include <string>

#include "dcp/checkpoint_format.h"
#include "dcp/filesystem_storage.h"
#include "dcp/status.h"
#include "dcp/storage.h"
#include "storage/outline_reader.h"

namespace dcp {

/// Whether something is at `path` that is no directory.
/// \error that of a directory that cannot be listed
StatusOr<bool> IsFile(FileSystem& file_system, const std::string& path);

/// Metadata that was read, and the reader that can read the rest.
struct OpenedPath {
  CheckpointFormat format = CheckpointFormat::kDcp;
  CheckpointIndex index;
  std::unique_ptr<StorageReader> reader;
};

/// Opens a directory in the native format or of safetensors files, a single
/// safetensors file, or a file of torch.save. `environment` is complete.
/// \error kNotFound  there is no checkpoint
/// \error kInvalidArgument  the directory holds both formats
StatusOr<std::unique_ptr<OpenedPath>> OpenPath(
    const std::string& path, const IoOptions& io,
    const StorageEnvironment& environment);

/// OpenPath for who rebuilds no nested state: planner_data may be missing.
StatusOr<std::unique_ptr<OpenedPath>> OpenToLook(
    const std::string& path, const IoOptions& io,
    const StorageEnvironment& environment);

/// The indexed metadata of what is at `path`; nullopt if it has none. See
/// OutlineReader.
StatusOr<std::optional<BoundIndex>> OpenIndexAt(
    const std::string& path, const IoOptions& io,
    const StorageEnvironment& environment);

/// Gets `opened`, which stays where it is, ready to have tensors read in parts.
/// \error kDataLoss  chunks overlap or leave gaps
Status PrepareToRead(OpenedPath& opened);

}  // namespace dcp

#endif  // DCP_CHECKPOINT_OPENED_PATH_H_
