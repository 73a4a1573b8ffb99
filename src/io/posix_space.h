// Free space of a directory, and whose it is.

#ifndef DCP_IO_POSIX_SPACE_H_
#define DCP_IO_POSIX_SPACE_H_

#include <string>
#include <string_view>

#include "dcp/file_system.h"

namespace dcp {

/// \error kNotFound  `path` does not exist
StatusOr<SpaceInfo> PosixSpace(const std::string& path);

/// The file system type and source ("nfs4 server:/export") that mountinfo(5)
/// gives for a device number "major:minor"; empty if it is not listed.
std::string MountSource(std::string_view mountinfo, std::string_view device);

}  // namespace dcp

#endif  // DCP_IO_POSIX_SPACE_H_
