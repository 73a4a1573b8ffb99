// FaultInjectionFileSystem: a file system that fails when a test says so.
//
// It counts every call of every kind, over all files and names, in order; a
// script says which of them fail and how, and when the power goes. Over a
// memory file system it also knows what would have survived: AfterReboot().
//
//   for (int64_t n = 1;; ++n) {            // a power cut after every call
//     FaultInjectionFileSystem fs(disk(), {.power_cut_after = n});
//     if (Save(fs).ok()) break;
//     CHECK(LoadsOldOrNew(*fs.AfterReboot()));
//   }

#ifndef DCP_TESTS_TESTING_FAULT_INJECTION_FILE_SYSTEM_H_
#define DCP_TESTS_TESTING_FAULT_INJECTION_FILE_SYSTEM_H_

#include <cerrno>
#include <cstdint>
#include <functional>
#include <memory>
#include <optional>
#include <string>
#include <vector>

#include "dcp/file_system.h"
#include "testing/disk_model.h"

namespace dcp::testing {

enum class FsOp : uint8_t {
  kOpen,
  kMakeDirectories,
  kList,
  kExists,
  kRename,
  kRemove,
  kSyncDirectory,
  kSpace,
  kRead,
  kReadCached,
  kWrite,
  kSize,
  kTruncate,
  kAllocate,
  kSync,
  kClose,
  kLock,
  kExchange,
  kLink,
  kRemoveDirectory,
  kMakeDirectoryLike,
};

enum class FaultDuration : uint8_t { kOnce, kFromThenOn };

/// What a failing call has done all the same.
enum class FaultEffect : uint8_t {
  kNone,
  kPartial,  ///< reads and writes: the first half of the bytes; others: nothing
  kFull,     ///< everything; only the answer is an error
};

struct Fault {
  /// Which call, from 1: of all calls, or of those of kind `op` if that is set.
  int64_t call = 1;
  std::optional<FsOp> op;
  int error_number = EIO;
  FaultDuration duration = FaultDuration::kOnce;
  FaultEffect effect = FaultEffect::kNone;
};

enum class CachedReads : uint8_t {
  kAsBase,
  kRandomlyShort,  ///< ReadCached() gives fewer bytes than it could, or none
};

struct FaultScript {
  std::vector<Fault> faults;
  /// All calls after this many fail, as if the machine were off. 0: all.
  std::optional<int64_t> power_cut_after;
  CachedReads cached_reads = CachedReads::kAsBase;
  uint64_t seed = 0;
  /// Called before each call is done, with no lock held: it may wait, and it
  /// may end the process.
  std::function<void(int64_t n, FsOp op, const std::string& path)> on_call;
};

/// One call that was made.
struct FsCall {
  FsOp op = FsOp::kOpen;
  std::string path;

  bool operator==(const FsCall&) const = default;
};

/// Thread-safe. Files opened here may outlive it. Its files have no
/// descriptors, so engines use them through their methods.
class FaultInjectionFileSystem final : public FileSystem {
 public:
  /// If `base` is a memory file system, what is in it now counts as durable,
  /// and from now on it must be changed through this object only.
  explicit FaultInjectionFileSystem(std::shared_ptr<FileSystem> base,
                                    FaultScript script = {});
  ~FaultInjectionFileSystem() override;

  /// Counts from 1 again, by a new script. The power is back; what was synced
  /// stays so.
  void Restart(FaultScript script);

  int64_t calls() const;
  std::vector<FsCall> log() const;
  bool power_is_cut() const;

  /// What the disk holds if the power goes now, as a new memory file system.
  /// `base` must be one.
  std::shared_ptr<FileSystem> AfterReboot(
      RebootPolicy policy = RebootPolicy::kDropUnsynced,
      uint64_t seed = 0) const;

  const FileSystemTraits& traits() const override;
  StatusOr<std::unique_ptr<File>> Open(const std::string& path,
                                       const OpenOptions& options) override;
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
  const std::shared_ptr<class FaultState> state_;  // shared with the files
};

}  // namespace dcp::testing

#endif  // DCP_TESTS_TESTING_FAULT_INJECTION_FILE_SYSTEM_H_
