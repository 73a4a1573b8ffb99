// StagedEntries: a StagedState from the inside.

#ifndef DCP_CHECKPOINT_STAGED_STATE_H_
#define DCP_CHECKPOINT_STAGED_STATE_H_

#include <sys/types.h>

#include <memory>
#include <optional>
#include <span>
#include <thread>
#include <vector>

#include "base/mutex.h"
#include "checkpoint/saver_process.h"
#include "dcp/staging.h"
#include "staging/snapshot.h"

namespace dcp {

/// What is copied of `entry`; a view without memory if it is no tensor.
TensorView StagedViewOf(const SaveEntry& entry);

/// The one StagedState there is.
class StagedEntries final : public StagedState {
 public:
  static StatusOr<std::shared_ptr<StagedState>> Begin(
      std::vector<SaveEntry> entries, std::shared_ptr<void> keep_alive,
      const StagingOptions& options, SnapshotParts parts);

  StagedEntries(std::vector<SaveEntry> entries,
                std::shared_ptr<void> keep_alive, const StagingOptions& options,
                SnapshotParts parts);
  ~StagedEntries() override;

  Status WaitStaged(std::optional<Clock::Duration> timeout) override;
  bool is_staged() const override;
  Status WaitHandedOver(std::optional<Clock::Duration> timeout) override;
  int64_t nbytes() const override { return nbytes_; }
  int64_t nbytes_staged() const override;
  int64_t nbytes_streamed() const override;
  Status pin_status() const override;
  void Cancel() override;

  /// \error kFailedPrecondition  in a forked child, which lacks the memory
  Status CheckProcess() const;
  /// As they were given: their views tell shapes, and not where to read.
  std::span<const SaveEntry> entries() const { return entries_; }
  Snapshot& snapshot() { return *snapshot_; }

  /// Null if threads save.
  SaverProcess* saver() const { return saver_.get(); }
  void MarkHandedOver() { SetHandover(absl::OkStatus()); }
  /// It will not be any more, if it was not, for the reason `why`.
  void EndHandover(const Status& why) { SetHandover(why); }

 private:
  bool in_child() const;
  void Start();
  /// What is known stays.
  void SetHandover(const Status& handover);

  const pid_t owner_;
  const std::shared_ptr<SaverProcess> saver_;
  Mutex mutex_;
  CondVar changed_;
  /// nullopt: not known yet.
  std::optional<Status> handover_ ABSL_GUARDED_BY(mutex_);
  const std::vector<SaveEntry> entries_;
  int64_t nbytes_ = 0;
  /// Shared with the thread: in a forked child, where there is no thread, it
  /// lives on, because what a thread may be waiting for cannot be destroyed.
  std::shared_ptr<Snapshot> snapshot_;
  std::thread thread_;
};

}  // namespace dcp

#endif  // DCP_CHECKPOINT_STAGED_STATE_H_
