// ObjectStore: what object stores lack, fsspec's among them, is lacking here.

#ifndef DCP_TESTS_TESTING_OBJECT_STORE_H_
#define DCP_TESTS_TESTING_OBJECT_STORE_H_

#include <memory>
#include <optional>
#include <string>

#include "testing/no_lock_file_system.h"

namespace dcp::testing {

/// Files in memory, as object stores have them: no rename and no locks, files
/// grow at their end.
class ObjectStore final : public NoLockFileSystem {
 public:
  ObjectStore() : NoLockFileSystem(MakeMemoryFileSystem()) {}

  const FileSystemTraits& traits() const override { return traits_; }
  StatusOr<std::unique_ptr<File>> Open(const std::string& path,
                                       const OpenOptions& options) override {
    OpenOptions plain = options;
    if (options.mode == OpenMode::kReplace) {
      plain.mode = OpenMode::kCreateNew;
      base().Remove(path).IgnoreError();
    }
    return base().Open(path, plain);
  }
  Status Rename(const std::string&, const std::string&) override {
    return Unimplemented("no rename here");
  }
  Status SyncDirectory(const std::string&) override {
    return Unimplemented("no directories here");
  }
  StatusOr<std::optional<SpaceInfo>> Space(const std::string&) override {
    return std::optional<SpaceInfo>();
  }

 private:
  const FileSystemTraits traits_{.name = "objects",
                                 .positional_writes = false,
                                 .atomic_rename = false,
                                 .directory_sync = false};
};

}  // namespace dcp::testing

#endif  // DCP_TESTS_TESTING_OBJECT_STORE_H_
