// Locks between processes: one file, one lock of its open file description.

#ifndef DCP_IO_POSIX_LOCK_H_
#define DCP_IO_POSIX_LOCK_H_

#include <memory>
#include <optional>
#include <string>

#include "dcp/file_system.h"

namespace dcp {

/// See FileSystem::Lock.
StatusOr<std::unique_ptr<FileLock>> LockPosixFile(const std::string& path,
                                                  const std::string& owner);
/// See FileSystem::LockOwner.
StatusOr<std::optional<std::string>> PosixLockOwner(const std::string& path);

}  // namespace dcp

#endif  // DCP_IO_POSIX_LOCK_H_
