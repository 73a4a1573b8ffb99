// Snapshot: a copy of tensors that is made while the caller goes on, and read
// while it is made.

#ifndef DCP_STAGING_SNAPSHOT_H_
#define DCP_STAGING_SNAPSHOT_H_

#include <array>
#include <atomic>
#include <cstddef>
#include <cstdint>
#include <functional>
#include <memory>
#include <optional>
#include <span>
#include <vector>

#include "absl/base/thread_annotations.h"
#include "base/mutex.h"
#include "dcp/clock.h"
#include "dcp/device_runtime.h"
#include "dcp/status.h"
#include "dcp/tensor_view.h"
#include "dcp/trace.h"
#include "staging/device_copiers.h"
#include "staging/host_arena.h"
#include "staging/lane_copier.h"
#include "staging/snapshot_layout.h"
#include "staging/write_rate.h"

namespace dcp {

struct SnapshotOptions {
  /// What all snapshots of the arena may have together.
  int64_t max_nbytes = 0;
  int threads = 1;
  std::shared_ptr<Trace> trace;  // may be null
  // Of what devices copy:
  std::shared_ptr<WriteRate> copy_rate;  // may be null
  CopyMethod copy_method = CopyMethod::kBatched;
  bool pins_memory = true;
  /// No copy is there before all of host memory are.
  bool copies_first = false;
};

/// The seams that a snapshot stands on.
struct SnapshotParts {
  HostArena& arena;
  std::shared_ptr<DeviceRuntime> device;
};

/// The ErrorDetail::op of errors that only say that somebody cancelled.
inline constexpr char kCancelOp[] = "cancel";

/// See snapshot.cc for the order of events. Thread-safe. One thread runs Run();
/// what else is called waits, if it does, for what that does. Outlives Run().
class Snapshot {
 public:
  /// `keep_alive` owns what `views` refer to. Copies are ordered after what the
  /// views' streams have at this moment.
  Snapshot(std::vector<TensorView> views, std::shared_ptr<void> keep_alive,
           const SnapshotOptions& options, SnapshotParts parts);
  Snapshot(const Snapshot&) = delete;
  Snapshot& operator=(const Snapshot&) = delete;

  /// Gets memory and copies, as long as that takes.
  void Run();
  /// In place of Run(): all views are read where they are.
  void StreamAll();
  /// Ends Run() early, and the use as soon as its next call comes.
  void Cancel();

  /// Waits until nobody reads the caller's memory any more.
  /// \error kDeadlineExceeded  somebody still does
  /// \error others  they were not copied
  Status AwaitCallerFree(std::optional<Clock::Duration> timeout);
  bool is_caller_free() const {
    const MutexLock lock(mutex_);
    return IsCallerFreeLocked();
  }
  /// Whether it is known what is copied, and there is memory for it.
  bool has_memory() const {
    const MutexLock lock(mutex_);
    return phase_ == Phase::kCopying || phase_ == Phase::kEnded;
  }
  /// What the copies lie in; empty if there are none.
  std::span<std::byte> memory() const {
    const MutexLock lock(mutex_);
    return lease_.memory();
  }
  /// Whether all is copied that is not streamed.
  bool is_copied() const;
  /// Bytes of copies that are there, gaps between them included.
  int64_t nbytes_copied() const;
  /// Why devices copy to memory that is not pinned, if they do; or else why
  /// memory that was given back before could not be unpinned.
  Status pin_status() const {
    const MutexLock lock(mutex_);
    return pin_status_;
  }
  /// Whether no view is copied.
  bool streams_all() const { return streams_all_; }
  /// Bytes of some views that are not copied, 0 as long as that is not known.
  int64_t nbytes_streamed() const;

  // What follows is for the one use: a save.

  /// Called now and then by who waits; its error ends the wait.
  using Ask = std::function<Status()>;

  /// Waits until it is known which views are copied. If that hangs on memory
  /// that other snapshots have, none is: the use has come and need not wait.
  /// \error kFailedPrecondition  cancelled, or used before
  Status BeginUse(const Ask& ask);
  /// Undoes BeginUse, where nothing was streamed: the use comes later.
  void PutOffUse() {
    const MutexLock lock(mutex_);
    is_used_ = false;
  }
  /// What is streamed has been read; nobody gets it any more.
  void EndStreaming();
  /// Nothing is read any more: the memory goes back, and Run() ends. For a use
  /// that never came as well.
  void EndUse();
  /// OK while the use may go on.
  Status Check() const;

  bool IsStreamed(size_t view) const;
  /// Whether AwaitView(view) would not wait.
  bool IsThere(size_t view) const {
    const MutexLock lock(mutex_);
    return IsThereLocked(view);
  }
  /// The copy of `view`, which is number `number`, when it is complete; or
  /// `view` if it is not copied: in device memory with a stream of our own,
  /// which has to wait for no more than a copy would.
  /// \error kFailedPrecondition  cancelled, or streamed before
  StatusOr<TensorView> AwaitView(const TensorView& view, size_t number,
                                 const Ask& ask);

  /// Whether devices' copies, and what is streamed from them, are bounded.
  bool has_copy_rate() const { return options_.copy_rate != nullptr; }
  /// Returns when `nbytes` of a device may be streamed.
  Status AwaitCopyRate(int64_t nbytes, const Ask& ask);

 private:
  enum class Phase : uint8_t { kStarting, kAwaitingMemory, kCopying, kEnded };
  /// What goes when nobody needs it any more, outside of the lock.
  struct Unneeded {
    std::shared_ptr<void> keep_alive;
    ArenaLease memory;
    DeviceCopiers device_copiers;
  };

  // In snapshot_copy.cc, called by Run():
  Status TakeMemory();
  StatusOr<ArenaLease> TakeLease(const ArenaRequest& request);
  void BeginLanes(std::span<std::byte> memory);
  Status CopyLanes();
  void CopyHostUnits();
  void CopyDeviceUnits();
  bool PinDeviceLane(std::span<std::byte> memory);
  bool IsOver() const { return stops_ || !Check().ok(); }
  void MarkDone(LaneKind kind, size_t unit);

  void End(const Status& status);
  bool is_pointless() const { return stops_ || streams_all_; }

  Status CheckLocked() const ABSL_EXCLUSIVE_LOCKS_REQUIRED(mutex_);
  bool IsUnreadLocked() const ABSL_EXCLUSIVE_LOCKS_REQUIRED(mutex_);
  bool IsCallerFreeLocked() const ABSL_EXCLUSIVE_LOCKS_REQUIRED(mutex_);
  bool IsHeldBackLocked() const ABSL_EXCLUSIVE_LOCKS_REQUIRED(mutex_);
  bool IsThereLocked(size_t view) const ABSL_EXCLUSIVE_LOCKS_REQUIRED(mutex_);
  Status AwaitThere(size_t view, const Ask& ask);
  /// After every change; wakes all who wait.
  Unneeded SettleLocked() ABSL_EXCLUSIVE_LOCKS_REQUIRED(mutex_);
  /// Waits for a change, at most until it is time to ask, and asks.
  Status WaitAndAsk(const Ask& ask) ABSL_EXCLUSIVE_LOCKS_REQUIRED(mutex_);

  const SnapshotOptions options_;
  const SnapshotParts parts_;
  /// Both are only set, and make copies pointless.
  std::atomic<bool> stops_ = false;
  std::atomic<bool> streams_all_ = false;

  /// Made before kCopying, then left as they are.
  SnapshotLayout layout_;
  std::byte* memory_ = nullptr;
  /// Run()'s, then of who reads what is streamed; gone when the caller's memory
  /// is free.
  DeviceCopiers device_copiers_;

  mutable Mutex mutex_;
  CondVar changed_;
  Phase phase_ ABSL_GUARDED_BY(mutex_) = Phase::kStarting;
  Status status_ ABSL_GUARDED_BY(mutex_);
  Status pin_status_ ABSL_GUARDED_BY(mutex_);
  std::vector<TensorView> views_ ABSL_GUARDED_BY(mutex_);
  std::shared_ptr<void> keep_alive_ ABSL_GUARDED_BY(mutex_);
  ArenaLease lease_ ABSL_GUARDED_BY(mutex_);
  bool is_cancelled_ ABSL_GUARDED_BY(mutex_) = false;
  bool is_used_ ABSL_GUARDED_BY(mutex_) = false;
  bool was_used_ ABSL_GUARDED_BY(mutex_) = false;
  bool has_streamed_ ABSL_GUARDED_BY(mutex_) = false;
  /// Their units are taken and copied without the lock.
  std::array<LaneCopier, kLaneCount> copiers_;
};

}  // namespace dcp

#endif  // DCP_STAGING_SNAPSHOT_H_
