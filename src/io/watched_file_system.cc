// Calls that change names hold the lock of the directory while they are under
// way. A rename that returns an hour late, when the save has long been given
// up, must not put its metadata over that of another save: as long as it may do
// so, nobody else gets the lock.

#include "io/watched_file_system.h"

#include <utility>
#include <vector>

#include "io/slices.h"

namespace dcp {
namespace {

// A call of the watched file owns a copy of its bytes: this much at a time.
constexpr int64_t kPieceNbytes = int64_t{4} << 20;

int64_t TotalOf(std::span<const IoSlice> slices) {
  int64_t total = 0;
  for (const IoSlice& slice : slices) {
    total += static_cast<int64_t>(slice.nbytes);
  }
  return total;
}

std::shared_ptr<std::string> Buffer(int64_t nbytes) {
  return std::make_shared<std::string>(static_cast<size_t>(nbytes), '\0');
}

IoSlice SliceOf(std::string& bytes) {
  return {reinterpret_cast<std::byte*>(bytes.data()), bytes.size()};
}

/// Calls `transfer` with one piece after the other; with nothing, once.
template <typename Transfer>
Status InPieces(const std::string& path, int64_t byte_offset,
                std::span<const IoSlice> slices, const Transfer& transfer) {
  DCP_ASSIGN_OR_RETURN(const int64_t nbytes,
                       CheckedTotal(path, byte_offset, slices));
  int64_t done = 0;
  do {
    const std::vector<IoSlice> piece = SubSlices(slices, done, kPieceNbytes);
    DCP_RETURN_IF_ERROR(
        transfer(byte_offset + done, std::span<const IoSlice>(piece)));
    done += kPieceNbytes;
  } while (done < nbytes);
  return absl::OkStatus();
}

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

}  // namespace

WatchedFile::WatchedFile(std::shared_ptr<File> base,
                         std::shared_ptr<CallWatch> watch)
    : base_(std::move(base)), watch_(std::move(watch)) {}

WatchedFile::~WatchedFile() {
  if (is_closed_) return;
  // Destroying it closes it, which may hang; the path goes with it.
  File& file = *base_;
  watch_->Discard("close", file.path(), std::move(base_));
}

Status WatchedFile::ReadFully(int64_t byte_offset,
                              std::span<const IoSlice> slices) {
  return InPieces(path(), byte_offset, slices, [this](int64_t at, auto piece) {
    return ReadPiece(at, piece);
  });
}

Status WatchedFile::ReadPiece(int64_t byte_offset,
                              std::span<const IoSlice> slices) {
  const int64_t nbytes = TotalOf(slices);
  const auto buffer = Buffer(nbytes);
  DCP_RETURN_IF_ERROR(watch_->Run<Status>(
      {.op = "pread", .path = path(), .byte_offset = byte_offset},
      [base = base_, buffer, byte_offset] {
        const IoSlice whole = SliceOf(*buffer);
        return base->ReadFully(byte_offset, {&whole, 1});
      }));
  CopyToSlices(SliceOf(*buffer).data, nbytes, slices);
  return absl::OkStatus();
}

StatusOr<int64_t> WatchedFile::ReadCached(int64_t byte_offset,
                                          std::span<const IoSlice> slices) {
  const auto buffer = Buffer(TotalOf(slices));
  DCP_ASSIGN_OR_RETURN(
      const int64_t nbytes,
      watch_->Run<StatusOr<int64_t>>(
          {.op = "preadv2", .path = path(), .byte_offset = byte_offset},
          [base = base_, buffer, byte_offset] {
            const IoSlice whole = SliceOf(*buffer);
            return base->ReadCached(byte_offset, {&whole, 1});
          }));
  CopyToSlices(SliceOf(*buffer).data, nbytes, slices);
  return nbytes;
}

Status WatchedFile::WriteFully(int64_t byte_offset,
                               std::span<const IoSlice> slices) {
  return InPieces(path(), byte_offset, slices, [this](int64_t at, auto piece) {
    return WritePiece(at, piece);
  });
}

Status WatchedFile::WritePiece(int64_t byte_offset,
                               std::span<const IoSlice> slices) {
  const int64_t nbytes = TotalOf(slices);
  const auto buffer = Buffer(nbytes);
  CopyFromSlices(slices, nbytes, SliceOf(*buffer).data);
  return watch_->Run<Status>(
      {.op = "pwrite", .path = path(), .byte_offset = byte_offset},
      [base = base_, buffer, byte_offset] {
        const IoSlice whole = SliceOf(*buffer);
        return base->WriteFully(byte_offset, {&whole, 1});
      });
}

StatusOr<int64_t> WatchedFile::Size() {
  return watch_->Run<StatusOr<int64_t>>(
      {.op = "fstat", .path = path()}, [base = base_] { return base->Size(); });
}

Status WatchedFile::Truncate(int64_t nbytes) {
  return watch_->Run<Status>(
      {.op = "ftruncate", .path = path()},
      [base = base_, nbytes] { return base->Truncate(nbytes); });
}

Status WatchedFile::Allocate(int64_t nbytes) {
  return watch_->Run<Status>(
      {.op = "fallocate", .path = path()},
      [base = base_, nbytes] { return base->Allocate(nbytes); });
}

Status WatchedFile::Sync() {
  return watch_->Run<Status>({.op = "fsync", .path = path()},
                             [base = base_] { return base->Sync(); });
}

Status WatchedFile::Close() {
  const Status status =
      watch_->Run<Status>({.op = "close", .path = path()},
                          [base = base_] { return base->Close(); });
  is_closed_ = status.ok();
  return status;
}

WatchedFileSystem::WatchedFileSystem(std::shared_ptr<FileSystem> base,
                                     Clock::Duration timeout)
    : base_(std::move(base)), watch_(std::make_shared<CallWatch>(timeout)) {}

WatchedFileSystem::Locks WatchedFileSystem::locks() {
  Locks held;
  const MutexLock guard(mutex_);
  for (const auto& lock : locks_) {
    if (auto taken = lock.lock()) held.push_back(std::move(taken));
  }
  return held;
}

StatusOr<std::unique_ptr<WatchedFile>> WatchedFileSystem::OpenWatched(
    const std::string& path, const OpenOptions& options) {
  using Opened = StatusOr<std::unique_ptr<File>>;
  DCP_ASSIGN_OR_RETURN(std::unique_ptr<File> file,
                       watch_->Run<Opened>({.op = "open", .path = path},
                                           [base = base_, path, options] {
                                             return base->Open(path, options);
                                           }));
  return std::make_unique<WatchedFile>(std::move(file), watch_);
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
                             [base = base_, from, to, held = locks()] {
                               return base->Rename(from, to);
                             });
}

Status WatchedFileSystem::Exchange(const std::string& a, const std::string& b) {
  return watch_->Run<Status>(
      {.op = "renameat2", .path = a},
      [base = base_, a, b, held = locks()] { return base->Exchange(a, b); });
}

Status WatchedFileSystem::Link(const std::string& from, const std::string& to) {
  return watch_->Run<Status>({.op = "link", .path = from},
                             [base = base_, from, to, held = locks()] {
                               return base->Link(from, to);
                             });
}

Status WatchedFileSystem::Remove(const std::string& path) {
  return watch_->Run<Status>(
      {.op = "unlink", .path = path},
      [base = base_, path, held = locks()] { return base->Remove(path); });
}

Status WatchedFileSystem::RemoveDirectory(const std::string& path) {
  return watch_->Run<Status>({.op = "rmdir", .path = path},
                             [base = base_, path, held = locks()] {
                               return base->RemoveDirectory(path);
                             });
}

Status WatchedFileSystem::MakeDirectoryLike(const std::string& path,
                                            const std::string& model) {
  return watch_->Run<Status>({.op = "mkdir", .path = path},
                             [base = base_, path, model, held = locks()] {
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
  DCP_ASSIGN_OR_RETURN(std::unique_ptr<FileLock> taken,
                       watch_->Run<Locked>({.op = "fcntl", .path = path},
                                           [base = base_, path, owner] {
                                             return base->Lock(path, owner);
                                           }));
  std::shared_ptr<FileLock> shared = std::move(taken);
  {
    const MutexLock guard(mutex_);
    std::erase_if(locks_, [](const auto& lock) { return lock.expired(); });
    locks_.push_back(shared);
  }
  return std::make_unique<WatchedLock>(std::move(shared), path, watch_);
}

StatusOr<std::optional<std::string>> WatchedFileSystem::LockOwner(
    const std::string& path) {
  using Owner = StatusOr<std::optional<std::string>>;
  return watch_->Run<Owner>(
      {.op = "fcntl", .path = path},
      [base = base_, path] { return base->LockOwner(path); });
}

}  // namespace dcp
