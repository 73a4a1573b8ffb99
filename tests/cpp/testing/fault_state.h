// FaultState: the script of a FaultInjectionFileSystem and where it stands.

#ifndef DCP_TESTS_TESTING_FAULT_STATE_H_
#define DCP_TESTS_TESTING_FAULT_STATE_H_

#include <map>
#include <memory>
#include <optional>
#include <random>
#include <string>
#include <utility>
#include <vector>

#include "base/mutex.h"
#include "testing/fault_injection_file_system.h"

namespace dcp::testing {

/// What becomes of one call.
struct Verdict {
  Status status;  ///< what to return; OK: whatever the base says
  FaultEffect effect = FaultEffect::kFull;  ///< what to do before that
  bool power_is_cut = false;

  bool performs() const { return effect == FaultEffect::kFull; }
};

/// Thread-safe.
class FaultState {
 public:
  /// `disk` is null where nobody keeps track of what is durable.
  FaultState(std::unique_ptr<DiskModel> disk, FaultScript script)
      : disk_(std::move(disk)), script_(std::move(script)) {
    random_.seed(script_.seed);
  }

  void Restart(FaultScript script);
  int64_t calls() const;
  std::vector<FsCall> log() const;
  bool power_is_cut() const;
  std::shared_ptr<FileSystem> AfterReboot(RebootPolicy policy,
                                          uint64_t seed) const;

  /// Counts a call, tells the hook, and looks it up in the script.
  Verdict OnCall(FsOp op, const std::string& path);

  /// Random number in [0, limit] if cached reads are to be short, else `limit`.
  int64_t CachedLimit(int64_t limit);

  /// Does a call as the script says. `perform` changes the base and returns its
  /// status; `record` tells the disk, with nothing else happening in between.
  template <typename Perform, typename Record>
  Status Change(FsOp op, const std::string& path, Perform perform,
                Record record) {
    const Verdict verdict = OnCall(op, path);
    if (!verdict.performs()) return verdict.status;
    const Status status = PerformAndRecord(perform, record);
    return verdict.status.ok() ? status : verdict.status;
  }

  template <typename Perform, typename Record>
  Status PerformAndRecord(Perform perform, Record record) {
    if (disk_ == nullptr) return perform();
    const MutexLock lock(disk_mutex_);
    Status status = perform();
    if (status.ok()) record(*disk_);
    return status;
  }

 private:
  Verdict VerdictOn(FsOp op, const std::string& path)
      ABSL_EXCLUSIVE_LOCKS_REQUIRED(mutex_);

  mutable Mutex disk_mutex_;
  const std::unique_ptr<DiskModel> disk_ ABSL_PT_GUARDED_BY(disk_mutex_);

  mutable Mutex mutex_;
  FaultScript script_ ABSL_GUARDED_BY(mutex_);
  std::mt19937_64 random_ ABSL_GUARDED_BY(mutex_);
  std::vector<FsCall> log_ ABSL_GUARDED_BY(mutex_);
  std::map<FsOp, int64_t> calls_by_op_ ABSL_GUARDED_BY(mutex_);
};

}  // namespace dcp::testing

#endif  // DCP_TESTS_TESTING_FAULT_STATE_H_
