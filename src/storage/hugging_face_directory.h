// A directory of safetensors files, seen as a checkpoint.

#ifndef DCP_STORAGE_HUGGING_FACE_DIRECTORY_H_
#define DCP_STORAGE_HUGGING_FACE_DIRECTORY_H_

#include <span>
#include <string>

#include "dcp/file_system.h"
#include "dcp/metadata.h"
#include "dcp/status.h"

namespace dcp {

/// Whether a directory with these entries holds safetensors files, or an index
/// of such.
bool HasSafetensors(std::span<const DirectoryEntry> entries);

/// The metadata of the safetensors files in `directory`, from their headers;
/// `storage_data` says where each tensor's bytes lie.
///
/// 1. With an index (`model.safetensors.index.json`, or the only
///    `*.safetensors.index.json`) the tensors are those that it lists, each in
///    the file that it names. Other files, and what else is in these, do not
///    count: they may be left of another model.
/// 2. Without one, all `*.safetensors` files count. No tensor may be there
///    twice, and of files whose names count them none may be missing.
/// 3. Files that ranks wrote for themselves (torch's HuggingFaceStorageWriter
///    with save_distributed) say in DCP_SHARDING_INFO where in its tensor each
///    of their parts belongs; a tensor is as large as its parts reach.
///
/// Links are followed as OpenOptions::beneath has it, from the checkpoint or,
/// in a hub cache, from its `models--*` folder.
/// \error kNotFound  no such file
/// \error kInvalidArgument  several indices; a name that leaves the directory
/// \error kDataLoss  a file or the index is malformed, the index names a file
///     or tensor that is not there, or files contradict each other
StatusOr<Metadata> ReadHuggingFaceMetadata(FileSystem& file_system,
                                           const std::string& directory);

}  // namespace dcp

#endif  // DCP_STORAGE_HUGGING_FACE_DIRECTORY_H_
