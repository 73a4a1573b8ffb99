// Calls that change names hold the lock of the directory while they are under
// way. A rename that returns an hour late, when the save has long been given
// up, must not put its metadata over that of another save: as long as it may do
// so, nobody else gets the lock. The same holds where there is no rename and an
// object is replaced when it is closed. Such storage has no locks either; there
// the locks of a table keep the saves of this process apart, and a call of
// another process ends with it.

#include "io/watched_file_system.h"

#include <utility>
#include <vector>

#include "io/memory_locks.h"

namespace dcp {
namespace {

class WatchedLock final : public FileLock {
 public:
  WatchedLock(std::shared_ptr<FileLock> base, std::string path,
              std::shared_ptr<CallWatch> watch)
      : base_(std::move(base)),
        path_(std::move(path)),
        watch_(std::move(watch)),
        was_abandoned_(base_->was_abandoned()) {}
  ~WatchedLock() override {
    watch_->Discard("unlock", path_, std::move(base_));
  }

  Status Check() const override {
    return watch_->Run<Status>({.op = "check the lock", .path = path_},
                               [base = base_] { return base->Check(); });
  }
  bool was_abandoned() const override { return was_abandoned_; }

 private:
  std::shared_ptr<FileLock> base_;
  const std::string path_;
  const std::shared_ptr<CallWatch> watch_;
  const bool was_abandoned_;
};

/// For storage without locks and renames. Late calls may outlive everything
/// else that knows it.
MemoryLocks& LocksOfThisProcess() {
  static auto* const locks = new MemoryLocks;
  return *locks;
}

/// `path` among all file systems.
std::string KeyOf(const FileSystem& file_system, const std::string& path) {
  return file_system.traits().name + " " + file_system.Absolute(path);
}

bool HasNoLocks(const FileSystem& file_system, const Status& status) {
  return status.code() == absl::StatusCode::kUnimplemented &&
         !file_system.traits().atomic_rename;
}

}  // namespace

WatchedFileSystem::WatchedFileSystem(std::shared_ptr<FileSystem> base,
                                     Clock::Duration timeout)
    : base_(std::move(base)), watch_(std::make_shared<CallWatch>(timeout)) {}

StatusOr<std::unique_ptr<WatchedFile>> WatchedFileSystem::OpenWatched(
    const std::string& path, const OpenOptions& options) {
  using Opened = StatusOr<std::unique_ptr<File>>;
  DCP_ASSIGN_OR_RETURN(std::unique_ptr<File> file,
                       watch_->Run<Opened>({.op = "open", .path = path},
                                           [base = base_, path, options] {
                                             return base->Open(path, options);
                                           }));
  const bool replaces = options.mode == OpenMode::kReplace;
  return std::make_unique<WatchedFile>(std::move(file), watch_,
                                       replaces ? locks_ : nullptr);
}

Status WatchedFileSystem::MakeDirectories(const std::string& path) {
  return watch_->Run<Status>(
      {.op = "mkdir", .path = path},
      [base = base_, path] { return base->MakeDirectories(path); });
}

StatusOr<std::vector<DirectoryEntry>> WatchedFileSystem::List(
    const std::string& path) {
  return watch_->Run<StatusOr<std::vector<DirectoryEntry>>>(
      {.op = "readdir", .path = path},
      [base = base_, path] { return base->List(path); });
}

StatusOr<bool> WatchedFileSystem::Exists(const std::string& path) {
  return watch_->Run<StatusOr<bool>>(
      {.op = "stat", .path = path},
      [base = base_, path] { return base->Exists(path); });
}

Status WatchedFileSystem::Rename(const std::string& from,
                                 const std::string& to) {
  return watch_->Run<Status>({.op = "rename", .path = from},
                             [base = base_, from, to, held = locks_->Held()] {
                               return base->Rename(from, to);
                             });
}

Status WatchedFileSystem::Exchange(const std::string& a, const std::string& b) {
  return watch_->Run<Status>({.op = "renameat2", .path = a},
                             [base = base_, a, b, held = locks_->Held()] {
                               return base->Exchange(a, b);
                             });
}

Status WatchedFileSystem::Link(const std::string& from, const std::string& to) {
  return watch_->Run<Status>({.op = "link", .path = from},
                             [base = base_, from, to, held = locks_->Held()] {
                               return base->Link(from, to);
                             });
}

Status WatchedFileSystem::Remove(const std::string& path) {
  return watch_->Run<Status>({.op = "unlink", .path = path},
                             [base = base_, path, held = locks_->Held()] {
                               return base->Remove(path);
                             });
}

Status WatchedFileSystem::RemoveDirectory(const std::string& path) {
  return watch_->Run<Status>({.op = "rmdir", .path = path},
                             [base = base_, path, held = locks_->Held()] {
                               return base->RemoveDirectory(path);
                             });
}

Status WatchedFileSystem::MakeDirectoryLike(const std::string& path,
                                            const std::string& model) {
  return watch_->Run<Status>(
      {.op = "mkdir", .path = path},
      [base = base_, path, model, held = locks_->Held()] {
        return base->MakeDirectoryLike(path, model);
      });
}

Status WatchedFileSystem::SyncDirectory(const std::string& path) {
  return watch_->Run<Status>(
      {.op = "fsync", .path = path},
      [base = base_, path] { return base->SyncDirectory(path); });
}

StatusOr<std::optional<SpaceInfo>> WatchedFileSystem::Space(
    const std::string& path) {
  return watch_->Run<StatusOr<std::optional<SpaceInfo>>>(
      {.op = "statvfs", .path = path},
      [base = base_, path] { return base->Space(path); });
}

StatusOr<std::unique_ptr<FileLock>> WatchedFileSystem::Lock(
    const std::string& path, const std::string& owner) {
  using Locked = StatusOr<std::unique_ptr<FileLock>>;
  Locked taken = watch_->Run<Locked>(
      {.op = "fcntl", .path = path},
      [base = base_, path, owner] { return base->Lock(path, owner); });
  if (HasNoLocks(*base_, taken.status())) {
    taken = LocksOfThisProcess().Lock(KeyOf(*base_, path), owner);
  }
  DCP_RETURN_IF_ERROR(taken.status());
  const std::shared_ptr<FileLock> shared = *std::move(taken);
  locks_->Add(shared);
  return std::make_unique<WatchedLock>(shared, path, watch_);
}

StatusOr<std::optional<std::string>> WatchedFileSystem::LockOwner(
    const std::string& path) {
  using Owner = StatusOr<std::optional<std::string>>;
  Owner owner = watch_->Run<Owner>(
      {.op = "fcntl", .path = path},
      [base = base_, path] { return base->LockOwner(path); });
  if (HasNoLocks(*base_, owner.status())) {
    return LocksOfThisProcess().OwnerOf(KeyOf(*base_, path));
  }
  return owner;
}

}  // namespace dcp
