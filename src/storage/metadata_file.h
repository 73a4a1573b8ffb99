// The metadata files of a checkpoint directory.

#ifndef DCP_STORAGE_METADATA_FILE_H_
#define DCP_STORAGE_METADATA_FILE_H_

#include <string>

#include "dcp/file_system.h"
#include "dcp/status.h"

namespace dcp {

/// All bytes of a `.metadata`, or a rank's own, at `path`. Memory is taken as
/// the file turns out to have bytes: one that is mostly a hole costs 16 MiB.
/// \error kNotFound           there is none
/// \error kResourceExhausted  it is larger than kMaxMetadataNbytes
/// \error kDataLoss           it is larger than 16 MiB and has pages of zeros,
///     as no pickle of metadata has
StatusOr<std::string> ReadMetadataBytes(FileSystem& file_system,
                                        const std::string& path,
                                        const OpenOptions& options);

/// The bytes of the file `name`, `.metadata` or a rank's own, in `directory`.
/// \error kNotFound  there is none; says which ranks saved for themselves there
StatusOr<std::string> ReadMetadataFile(FileSystem& file_system,
                                       const std::string& directory,
                                       const std::string& name);

}  // namespace dcp

#endif  // DCP_STORAGE_METADATA_FILE_H_
