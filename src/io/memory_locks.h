// MemoryLocks: FileSystem::Lock within one process, without files.

#ifndef DCP_IO_MEMORY_LOCKS_H_
#define DCP_IO_MEMORY_LOCKS_H_

#include <map>
#include <memory>
#include <optional>
#include <string>

#include "base/mutex.h"
#include "dcp/file_system.h"

namespace dcp {

/// Thread-safe. Locks may outlive it.
class MemoryLocks {
 public:
  StatusOr<std::unique_ptr<FileLock>> Lock(const std::string& path,
                                           const std::string& owner);
  /// See FileSystem::LockOwner.
  std::optional<std::string> OwnerOf(const std::string& path) const;

 private:
  struct Table {
    Mutex mutex;
    std::map<std::string, std::string> owner_by_path ABSL_GUARDED_BY(mutex);
  };
  class Held;

  const std::shared_ptr<Table> table_ = std::make_shared<Table>();
};

}  // namespace dcp

#endif  // DCP_IO_MEMORY_LOCKS_H_
