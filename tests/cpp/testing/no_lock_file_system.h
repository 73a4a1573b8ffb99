// NoLockFileSystem: any file system as it looks where locks are refused.

#ifndef DCP_TESTS_TESTING_NO_LOCK_FILE_SYSTEM_H_
#define DCP_TESTS_TESTING_NO_LOCK_FILE_SYSTEM_H_

#include <memory>
#include <string>

#include "testing/forwarding_file_system.h"

namespace dcp::testing {

/// Passes everything on to `base` but Lock(). Thread-safe.
class NoLockFileSystem final : public ForwardingFileSystem {
 public:
  using ForwardingFileSystem::ForwardingFileSystem;

  StatusOr<std::unique_ptr<FileLock>> Lock(const std::string& path,
                                           const std::string& owner) override {
    return FileSystem::Lock(path, owner);
  }
};

}  // namespace dcp::testing

#endif  // DCP_TESTS_TESTING_NO_LOCK_FILE_SYSTEM_H_
