// ForwardingFileSystem: a base of file systems that change one thing.

#ifndef DCP_TESTS_TESTING_FORWARDING_FILE_SYSTEM_H_
#define DCP_TESTS_TESTING_FORWARDING_FILE_SYSTEM_H_

#include <memory>
#include <optional>
#include <string>
#include <utility>
#include <vector>

#include "dcp/file_system.h"

namespace dcp::testing {

/// Passes everything on to `base`, which it shares.
class ForwardingFileSystem : public FileSystem {
 public:
  explicit ForwardingFileSystem(std::shared_ptr<FileSystem> base)
      : base_(std::move(base)) {}

  const FileSystemTraits& traits() const override { return base_->traits(); }
  std::string Absolute(const std::string& path) const override {
    return base_->Absolute(path);
  }
  StatusOr<std::unique_ptr<File>> Open(const std::string& path,
                                       const OpenOptions& options) override {
    return base_->Open(path, options);
  }
  Status MakeDirectories(const std::string& path) override {
    return base_->MakeDirectories(path);
  }
  StatusOr<std::vector<DirectoryEntry>> List(const std::string& path) override {
    return base_->List(path);
  }
  StatusOr<bool> Exists(const std::string& path) override {
    return base_->Exists(path);
  }
  Status Rename(const std::string& from, const std::string& to) override {
    return base_->Rename(from, to);
  }
  Status Exchange(const std::string& a, const std::string& b) override {
    return base_->Exchange(a, b);
  }
  Status Link(const std::string& from, const std::string& to) override {
    return base_->Link(from, to);
  }
  Status Remove(const std::string& path) override {
    return base_->Remove(path);
  }
  Status RemoveDirectory(const std::string& path) override {
    return base_->RemoveDirectory(path);
  }
  Status MakeDirectoryLike(const std::string& path,
                           const std::string& model) override {
    return base_->MakeDirectoryLike(path, model);
  }
  Status SyncDirectory(const std::string& path) override {
    return base_->SyncDirectory(path);
  }
  StatusOr<std::optional<SpaceInfo>> Space(const std::string& path) override {
    return base_->Space(path);
  }
  StatusOr<std::unique_ptr<FileLock>> Lock(const std::string& path,
                                           const std::string& owner) override {
    return base_->Lock(path, owner);
  }
  StatusOr<std::optional<std::string>> LockOwner(
      const std::string& path) override {
    return base_->LockOwner(path);
  }

 protected:
  FileSystem& base() { return *base_; }

 private:
  const std::shared_ptr<FileSystem> base_;
};

}  // namespace dcp::testing

#endif  // DCP_TESTS_TESTING_FORWARDING_FILE_SYSTEM_H_
