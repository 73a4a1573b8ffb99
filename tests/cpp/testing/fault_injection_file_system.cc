#include "testing/fault_injection_file_system.h"

#include <utility>

#include "io/slices.h"
#include "testing/fault_state.h"

namespace dcp::testing {
namespace {

constexpr auto kNoRecord = [](DiskModel&) {};

/// A call that changes nothing: the base's answer, or an injected error.
template <typename Perform>
auto Ask(FaultState& state, FsOp op, const std::string& path,
         Perform perform) -> decltype(perform()) {
  const Verdict verdict = state.OnCall(op, path);
  if (!verdict.status.ok()) return verdict.status;
  return perform();
}

int64_t TotalOf(std::span<const IoSlice> slices) {
  int64_t total = 0;
  for (const IoSlice& slice : slices) {
    total += static_cast<int64_t>(slice.nbytes);
  }
  return total;
}

class FaultInjectionFile final : public File {
 public:
  FaultInjectionFile(std::unique_ptr<File> base, DiskModel::Inode inode,
                     std::shared_ptr<FaultState> state)
      : base_(std::move(base)), inode_(inode), state_(std::move(state)) {}

  const std::string& path() const override { return base_->path(); }
  Status ReadFully(int64_t byte_offset,
                   std::span<const IoSlice> slices) override {
    const Verdict verdict = state_->OnCall(FsOp::kRead, path());
    const int64_t nbytes = DoneNbytes(verdict, slices);
    const Status status =
        base_->ReadFully(byte_offset, SubSlices(slices, 0, nbytes));
    return verdict.status.ok() ? status : verdict.status;
  }
  StatusOr<int64_t> ReadCached(int64_t byte_offset,
                               std::span<const IoSlice> slices) override {
    const int64_t limit = state_->CachedLimit(TotalOf(slices));
    return Ask(*state_, FsOp::kReadCached, path(), [&] {
      return base_->ReadCached(byte_offset, SubSlices(slices, 0, limit));
    });
  }
  Status WriteFully(int64_t byte_offset,
                    std::span<const IoSlice> slices) override;
  StatusOr<int64_t> Size() override {
    return Ask(*state_, FsOp::kSize, path(), [&] { return base_->Size(); });
  }
  Status Truncate(int64_t nbytes) override {
    return state_->Change(
        FsOp::kTruncate, path(), [&] { return base_->Truncate(nbytes); },
        [&](DiskModel& disk) { disk.Truncate(inode_, nbytes); });
  }
  Status Allocate(int64_t nbytes) override {
    return state_->Change(
        FsOp::kAllocate, path(), [&] { return base_->Allocate(nbytes); },
        kNoRecord);
  }
  Status Sync() override;
  Status Close() override;
  std::optional<DirectIoAlignment> direct_io() const override {
    return base_->direct_io();
  }

 private:
  /// How many bytes a call transfers.
  static int64_t DoneNbytes(const Verdict& verdict,
                            std::span<const IoSlice> slices) {
    if (verdict.effect == FaultEffect::kNone) return 0;
    return verdict.performs() ? TotalOf(slices) : TotalOf(slices) / 2;
  }

  const std::unique_ptr<File> base_;
  const DiskModel::Inode inode_;
  const std::shared_ptr<FaultState> state_;
  Mutex sync_mutex_;
  Status sync_error_ ABSL_GUARDED_BY(sync_mutex_);
};

Status FaultInjectionFile::WriteFully(int64_t byte_offset,
                                      std::span<const IoSlice> slices) {
  const Verdict verdict = state_->OnCall(FsOp::kWrite, path());
  const int64_t nbytes = DoneNbytes(verdict, slices);
  const std::vector<IoSlice> part = SubSlices(slices, 0, nbytes);
  const Status status = state_->PerformAndRecord(
      [&] { return base_->WriteFully(byte_offset, part); },
      [&](DiskModel& disk) {
        std::string bytes(static_cast<size_t>(nbytes), '\0');
        CopyFromSlices(part, nbytes,
                       reinterpret_cast<std::byte*>(bytes.data()));
        if (nbytes > 0) disk.Write(inode_, byte_offset, std::move(bytes));
      });
  return verdict.status.ok() ? status : verdict.status;
}

Status FaultInjectionFile::Sync() {
  const MutexLock lock(sync_mutex_);
  const Verdict verdict = state_->OnCall(FsOp::kSync, path());
  if (!sync_error_.ok()) return sync_error_;
  Status status;
  if (verdict.performs()) {
    status =
        state_->PerformAndRecord([&] { return base_->Sync(); },
                                 [&](DiskModel& disk) { disk.Sync(inode_); });
  } else if (!verdict.power_is_cut) {
    status = state_->PerformAndRecord(
        [] { return absl::OkStatus(); },
        [&](DiskModel& disk) { disk.LoseUnsynced(inode_); });
  }
  sync_error_ = verdict.status.ok() ? status : verdict.status;
  return sync_error_;
}

Status FaultInjectionFile::Close() {
  const Verdict verdict = state_->OnCall(FsOp::kClose, path());
  // Whatever close(2) returns, the descriptor is gone.
  const Status status = base_->Close();
  return verdict.status.ok() ? status : verdict.status;
}

std::unique_ptr<DiskModel> DiskOf(FileSystem& base) {
  if (base.traits().name != "memory") return nullptr;
  return std::make_unique<DiskModel>(base);
}

}  // namespace

FaultInjectionFileSystem::FaultInjectionFileSystem(
    std::shared_ptr<FileSystem> base, FaultScript script)
    : base_(std::move(base)),
      state_(std::make_shared<FaultState>(DiskOf(*base_), std::move(script))) {}

FaultInjectionFileSystem::~FaultInjectionFileSystem() = default;

void FaultInjectionFileSystem::Restart(FaultScript script) {
  state_->Restart(std::move(script));
}

int64_t FaultInjectionFileSystem::calls() const { return state_->calls(); }

std::vector<FsCall> FaultInjectionFileSystem::log() const {
  return state_->log();
}

bool FaultInjectionFileSystem::power_is_cut() const {
  return state_->power_is_cut();
}

std::shared_ptr<FileSystem> FaultInjectionFileSystem::AfterReboot(
    RebootPolicy policy, uint64_t seed) const {
  return state_->AfterReboot(policy, seed);
}

const FileSystemTraits& FaultInjectionFileSystem::traits() const {
  return base_->traits();
}

StatusOr<std::unique_ptr<File>> FaultInjectionFileSystem::Open(
    const std::string& path, const OpenOptions& options) {
  std::unique_ptr<File> file;
  DiskModel::Inode inode = 0;
  DCP_RETURN_IF_ERROR(state_->Change(
      FsOp::kOpen, path,
      [&]() -> Status {
        DCP_ASSIGN_OR_RETURN(file, base_->Open(path, options));
        return absl::OkStatus();
      },
      [&](DiskModel& disk) {
        inode = options.mode == OpenMode::kCreateNew ? disk.Create(path)
                                                     : disk.Find(path);
      }));
  return std::make_unique<FaultInjectionFile>(std::move(file), inode, state_);
}

Status FaultInjectionFileSystem::MakeDirectories(const std::string& path) {
  return state_->Change(
      FsOp::kMakeDirectories, path,
      [&] { return base_->MakeDirectories(path); },
      [&](DiskModel& disk) { disk.MakeDirectories(path); });
}

StatusOr<std::vector<DirectoryEntry>> FaultInjectionFileSystem::List(
    const std::string& path) {
  return Ask(*state_, FsOp::kList, path, [&] { return base_->List(path); });
}

StatusOr<bool> FaultInjectionFileSystem::Exists(const std::string& path) {
  return Ask(*state_, FsOp::kExists, path, [&] { return base_->Exists(path); });
}

Status FaultInjectionFileSystem::Rename(const std::string& from,
                                        const std::string& to) {
  return state_->Change(
      FsOp::kRename, from, [&] { return base_->Rename(from, to); },
      [&](DiskModel& disk) { disk.Rename(from, to); });
}

Status FaultInjectionFileSystem::Exchange(const std::string& a,
                                          const std::string& b) {
  return state_->Change(
      FsOp::kExchange, a, [&] { return base_->Exchange(a, b); },
      [&](DiskModel& disk) { disk.Exchange(a, b); });
}

Status FaultInjectionFileSystem::Link(const std::string& from,
                                      const std::string& to) {
  return state_->Change(
      FsOp::kLink, from, [&] { return base_->Link(from, to); },
      [&](DiskModel& disk) { disk.Link(from, to); });
}

Status FaultInjectionFileSystem::Remove(const std::string& path) {
  return state_->Change(
      FsOp::kRemove, path, [&] { return base_->Remove(path); },
      [&](DiskModel& disk) { disk.Remove(path); });
}

Status FaultInjectionFileSystem::RemoveDirectory(const std::string& path) {
  return state_->Change(
      FsOp::kRemoveDirectory, path,
      [&] { return base_->RemoveDirectory(path); },
      [&](DiskModel& disk) { disk.Remove(path); });
}

Status FaultInjectionFileSystem::MakeDirectoryLike(const std::string& path,
                                                   const std::string& model) {
  return state_->Change(
      FsOp::kMakeDirectoryLike, path,
      [&] { return base_->MakeDirectoryLike(path, model); },
      [&](DiskModel& disk) { disk.MakeDirectories(path); });
}

Status FaultInjectionFileSystem::SyncDirectory(const std::string& path) {
  return state_->Change(
      FsOp::kSyncDirectory, path, [&] { return base_->SyncDirectory(path); },
      [&](DiskModel& disk) { disk.SyncDirectory(path); });
}

StatusOr<std::optional<SpaceInfo>> FaultInjectionFileSystem::Space(
    const std::string& path) {
  return Ask(*state_, FsOp::kSpace, path, [&] { return base_->Space(path); });
}

StatusOr<std::unique_ptr<FileLock>> FaultInjectionFileSystem::Lock(
    const std::string& path, const std::string& owner) {
  return Ask(*state_, FsOp::kLock, path,
             [&] { return base_->Lock(path, owner); });
}

StatusOr<std::optional<std::string>> FaultInjectionFileSystem::LockOwner(
    const std::string& path) {
  return Ask(*state_, FsOp::kLock, path,
             [&] { return base_->LockOwner(path); });
}

}  // namespace dcp::testing
