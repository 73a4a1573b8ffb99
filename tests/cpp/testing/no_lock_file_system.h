// NoLockFileSystem: any file system as it looks where locks are refused.

#ifndef DCP_TESTS_TESTING_NO_LOCK_FILE_SYSTEM_H_
#define DCP_TESTS_TESTING_NO_LOCK_FILE_SYSTEM_H_

#include <memory>
#include <optional>
#include <string>

#include "testing/forwarding_file_system.h"

namespace dcp::testing {

/// Passes everything on to `base` but locks. Thread-safe.
class NoLockFileSystem : public ForwardingFileSystem {
 public:
  using ForwardingFileSystem::ForwardingFileSystem;

  StatusOr<std::unique_ptr<FileLock>> Lock(const std::string& path,
                                           const std::string& owner) override {
    return FileSystem::Lock(path, owner);
  }
  StatusOr<std::optional<std::string>> LockOwner(
      const std::string& path) override {
    return FileSystem::LockOwner(path);
  }
};

}  // namespace dcp::testing

#endif  // DCP_TESTS_TESTING_NO_LOCK_FILE_SYSTEM_H_
