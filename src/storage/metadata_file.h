// The metadata files of a checkpoint directory.

#ifndef DCP_STORAGE_METADATA_FILE_H_
#define DCP_STORAGE_METADATA_FILE_H_

#include <string>

#include "dcp/file_system.h"
#include "dcp/status.h"

namespace dcp {

/// The bytes of the file `name`, `.metadata` or a rank's own, in `directory`.
/// \error kNotFound  there is none; says which ranks saved for themselves there
StatusOr<std::string> ReadMetadataFile(FileSystem& file_system,
                                       const std::string& directory,
                                       const std::string& name);

}  // namespace dcp

#endif  // DCP_STORAGE_METADATA_FILE_H_
