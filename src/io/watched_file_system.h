// WatchedFileSystem: a file system whose calls come back, with an error if need
// be.

#ifndef DCP_IO_WATCHED_FILE_SYSTEM_H_
#define DCP_IO_WATCHED_FILE_SYSTEM_H_

#include <memory>
#include <string>
#include <vector>

#include "base/mutex.h"
#include "dcp/clock.h"
#include "dcp/file_system.h"
#include "io/call_watch.h"

namespace dcp {

/// A file whose calls are made by a CallWatch. What it transfers is copied on
/// the way, because a late call must not touch the caller's memory; bulk data
/// goes through unwatched(), with a watch of its own.
class WatchedFile final : public File {
 public:
  WatchedFile(std::shared_ptr<File> base, std::shared_ptr<CallWatch> watch);
  ~WatchedFile() override;

  const std::shared_ptr<File>& unwatched() const { return base_; }

  const std::string& path() const override { return base_->path(); }
  Status ReadFully(int64_t byte_offset,
                   std::span<const IoSlice> slices) override;
  StatusOr<int64_t> ReadCached(int64_t byte_offset,
                               std::span<const IoSlice> slices) override;
  Status WriteFully(int64_t byte_offset,
                    std::span<const IoSlice> slices) override;
  StatusOr<int64_t> Size() override;
  Status Truncate(int64_t nbytes) override;
  Status Allocate(int64_t nbytes) override;
  Status Sync() override;
  Status Close() override;
  std::optional<DirectIoAlignment> direct_io() const override {
    return base_->direct_io();
  }
  int fd() const override { return base_->fd(); }
  int direct_fd() const override { return base_->direct_fd(); }

 private:
  Status ReadPiece(int64_t byte_offset, std::span<const IoSlice> slices);
  Status WritePiece(int64_t byte_offset, std::span<const IoSlice> slices);

  std::shared_ptr<File> base_;
  const std::shared_ptr<CallWatch> watch_;
  bool is_closed_ = false;
};

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
  using Locks = std::vector<std::shared_ptr<FileLock>>;
  /// Those that were taken and that somebody holds.
  Locks locks();

  const std::shared_ptr<FileSystem> base_;
  const std::shared_ptr<CallWatch> watch_;
  Mutex mutex_;
  std::vector<std::weak_ptr<FileLock>> locks_ ABSL_GUARDED_BY(mutex_);
};

}  // namespace dcp

#endif  // DCP_IO_WATCHED_FILE_SYSTEM_H_
