// Directories that take another one's place.

#ifndef DCP_IO_POSIX_DIRECTORY_H_
#define DCP_IO_POSIX_DIRECTORY_H_

#include <string>

#include "dcp/status.h"

namespace dcp {

/// See FileSystem::Exchange.
Status ExchangePosixNames(const std::string& a, const std::string& b);

/// See FileSystem::MakeDirectoryLike.
Status MakePosixDirectoryLike(const std::string& path,
                              const std::string& model);

}  // namespace dcp

#endif  // DCP_IO_POSIX_DIRECTORY_H_
