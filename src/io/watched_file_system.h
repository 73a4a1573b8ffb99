// WatchedFileSystem: a file system whose calls come back, with an error if need
// be.

#ifndef DCP_IO_WATCHED_FILE_SYSTEM_H_
#define DCP_IO_WATCHED_FILE_SYSTEM_H_

#include <memory>
#include <string>
#include <vector>

#include "dcp/clock.h"
#include "dcp/file_system.h"
#include "io/call_watch.h"
#include "io/watched_file.h"

namespace dcp {

/// The calls of one save: after the first that does not return in time, all
/// others fail at once. See CallWatch.
class WatchedFileSystem final : public FileSystem {
 public:
  /// \param timeout  for each call; 0: they take as long as they take.
  WatchedFileSystem(std::shared_ptr<FileSystem> base, Clock::Duration timeout);

  /// Has everything fail from now on; see CallWatch::GiveUp.
  void GiveUp(const Status& stall) { watch_->GiveUp(stall); }

  StatusOr<std::unique_ptr<WatchedFile>> OpenWatched(
      const std::string& path, const OpenOptions& options);

  const FileSystemTraits& traits() const override { return base_->traits(); }
  std::string Absolute(const std::string& path) const override {
    return base_->Absolute(path);
  }
  StatusOr<std::unique_ptr<File>> Open(const std::string& path,
                                       const OpenOptions& options) override {
    return OpenWatched(path, options);
  }
  Status MakeDirectories(const std::string& path) override;
  StatusOr<std::vector<DirectoryEntry>> List(const std::string& path) override;
  StatusOr<bool> Exists(const std::string& path) override;
  Status Rename(const std::string& from, const std::string& to) override;
  Status Exchange(const std::string& a, const std::string& b) override;
  Status Link(const std::string& from, const std::string& to) override;
  Status Remove(const std::string& path) override;
  Status RemoveDirectory(const std::string& path) override;
  Status MakeDirectoryLike(const std::string& path,
                           const std::string& model) override;
  Status SyncDirectory(const std::string& path) override;
  StatusOr<std::optional<SpaceInfo>> Space(const std::string& path) override;
  StatusOr<std::unique_ptr<FileLock>> Lock(const std::string& path,
                                           const std::string& owner) override;
  StatusOr<std::optional<std::string>> LockOwner(
      const std::string& path) override;

 private:
  const std::shared_ptr<FileSystem> base_;
  const std::shared_ptr<CallWatch> watch_;
  const std::shared_ptr<HeldLocks> locks_ = std::make_shared<HeldLocks>();
};

}  // namespace dcp

#endif  // DCP_IO_WATCHED_FILE_SYSTEM_H_
