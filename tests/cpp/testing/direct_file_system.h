// DirectFileSystem: files that ask for direct I/O, on any machine.

#ifndef DCP_TESTS_TESTING_DIRECT_FILE_SYSTEM_H_
#define DCP_TESTS_TESTING_DIRECT_FILE_SYSTEM_H_

#include <atomic>
#include <cstdint>
#include <limits>
#include <memory>
#include <string>
#include <vector>

#include "dcp/file_system.h"

namespace dcp::testing {

/// Passes everything on to `base`; files that are opened with another
/// direct_io than kOff report `alignment`, and transfers of theirs that do not
/// fit it are counted. Thread-safe. Files must not outlive it.
class DirectFileSystem final : public FileSystem {
 public:
  explicit DirectFileSystem(std::shared_ptr<FileSystem> base,
                            DirectIoAlignment alignment = {})
      : base_(std::move(base)), alignment_(alignment) {}

  /// Files refuse direct I/O after so many times that they were asked for it,
  /// as those of POSIX do when a transfer was refused.
  void RefuseAfter(int64_t asks) { asks_left_ = asks; }

  /// Writes, and whole reads, that were not aligned so far.
  int64_t unaligned_writes() const { return unaligned_writes_; }
  int64_t unaligned_reads() const { return unaligned_reads_; }

  const FileSystemTraits& traits() const override { return base_->traits(); }
  StatusOr<std::unique_ptr<File>> Open(const std::string& path,
                                       const OpenOptions& options) override;
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
  Status Remove(const std::string& path) override {
    return base_->Remove(path);
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

 private:
  class DirectFile;

  const std::shared_ptr<FileSystem> base_;
  const DirectIoAlignment alignment_;
  std::atomic<int64_t> asks_left_{std::numeric_limits<int64_t>::max()};
  std::atomic<int64_t> unaligned_writes_{0};
  std::atomic<int64_t> unaligned_reads_{0};
};

}  // namespace dcp::testing

#endif  // DCP_TESTS_TESTING_DIRECT_FILE_SYSTEM_H_
