// 1. Run() lays the views out, as far as the limit allows, and takes memory for
//    them. Where other snapshots have it, Run() waits until they give it back.
// 2. Until then nobody knows which views are copied. A save that comes
//    meanwhile does not wait: all views are streamed, that is, it reads them in
//    the caller's memory. So they are where the system has no memory.
// 3. Threads copy units of the lanes, in order. A view is there when the front
//    of its lane has passed it; the save reads it from then on.
// 4. The caller's memory is free when Run() is at its end and, if anything is
//    streamed, the save has written it. The copies go when the save has.
// 5. Devices copy on streams of their own (device_copiers.h), ordered when the
//    snapshot is made. One thread pins their memory, while others copy the
//    host's lane, and then asks for the copies. They write to that memory until
//    their copiers are drained, whatever happens: that is before the end. What
//    is streamed is read on the same streams, so the copiers stay until it was.
// 6. An error, or Cancel(), ends both early: what was streamed counts as read
//    when no save is reading it.

#include "staging/snapshot.h"

#include <algorithm>
#include <chrono>
#include <utility>

#include "base/guarded.h"

namespace dcp {
namespace {

constexpr auto kAskEvery = std::chrono::milliseconds(50);

}  // namespace

Snapshot::Snapshot(std::vector<TensorView> views,
                   std::shared_ptr<void> keep_alive,
                   const SnapshotOptions& options, SnapshotParts parts)
    : options_(options),
      parts_(std::move(parts)),
      views_(std::move(views)),
      keep_alive_(std::move(keep_alive)) {
  status_ = Guarded([this] {
    return device_copiers_.Make(views_, parts_.device.get(),
                                options_.copy_method);
  });
}

void Snapshot::Run() {
  const Status placed = Guarded([this] { return TakeMemory(); });
  if (!placed.ok()) streams_all_ = true;  // no memory, not even for the layout
  Status copied;
  if (!is_pointless()) copied = Guarded([this] { return CopyLanes(); });
  device_copiers_.Drain();
  End(copied);
}

void Snapshot::StreamAll() {
  streams_all_ = true;
  End(absl::OkStatus());
}

void Snapshot::End(const Status& status) {
  Unneeded unneeded;
  const MutexLock lock(mutex_);
  status_.Update(status);
  phase_ = Phase::kEnded;
  unneeded = SettleLocked();
}

void Snapshot::Cancel() {
  stops_ = true;
  parts_.arena.WakeWaiters();
  Unneeded unneeded;
  const MutexLock lock(mutex_);
  is_cancelled_ = true;
  unneeded = SettleLocked();
}

Status Snapshot::CheckLocked() const {
  DCP_RETURN_IF_ERROR(status_);
  if (!is_cancelled_) return absl::OkStatus();
  return WithDetail(FailedPrecondition("the save was cancelled"),
                    {.op = kCancelOp});
}

Status Snapshot::Check() const {
  const MutexLock lock(mutex_);
  return CheckLocked();
}

/// Nobody will look at anything any more, copies or not.
bool Snapshot::IsUnreadLocked() const {
  return !is_used_ && (was_used_ || is_cancelled_ || !status_.ok());
}

bool Snapshot::IsCallerFreeLocked() const {
  if (phase_ != Phase::kEnded) return false;
  const bool streams = streams_all_ || layout_.nbytes_streamed > 0;
  return !streams || has_streamed_ || IsUnreadLocked();
}

Snapshot::Unneeded Snapshot::SettleLocked() {
  Unneeded unneeded;
  if (IsCallerFreeLocked()) {
    unneeded.keep_alive = std::move(keep_alive_);
    unneeded.device_copiers = std::move(device_copiers_);
  }
  if (phase_ == Phase::kEnded && IsUnreadLocked()) {
    unneeded.memory = std::move(lease_);
  }
  changed_.NotifyAll();
  return unneeded;
}

Status Snapshot::AwaitCallerFree(std::optional<Clock::Duration> timeout) {
  const auto deadline =
      std::chrono::steady_clock::now() + timeout.value_or(Clock::Duration(0));
  const MutexLock lock(mutex_);
  while (!IsCallerFreeLocked()) {
    if (!timeout) {
      changed_.Wait(mutex_);
    } else if (std::chrono::steady_clock::now() < deadline) {
      changed_.WaitUntil(mutex_, deadline);
    } else {
      return MakeStatus(absl::StatusCode::kDeadlineExceeded,
                        "the tensors are still being read");
    }
  }
  return status_;
}

bool Snapshot::is_copied() const {
  const MutexLock lock(mutex_);
  return phase_ == Phase::kEnded && !streams_all_ &&
         copiers_[0].front() == layout_.lanes[0].nbytes &&
         copiers_[1].front() == layout_.lanes[1].nbytes;
}

int64_t Snapshot::nbytes_copied() const {
  const MutexLock lock(mutex_);
  return copiers_[0].front() + copiers_[1].front();
}

int64_t Snapshot::nbytes_streamed() const {
  const MutexLock lock(mutex_);
  const bool is_known = phase_ == Phase::kCopying || phase_ == Phase::kEnded;
  return is_known && !streams_all_ ? layout_.nbytes_streamed : 0;
}

Status Snapshot::WaitAndAsk(const Ask& ask) {
  const auto next = std::chrono::steady_clock::now() + kAskEvery;
  changed_.WaitUntil(mutex_, next);
  if (std::chrono::steady_clock::now() < next) return absl::OkStatus();
  mutex_.Unlock();  // it may take long
  const Status answer = Guarded(ask);
  mutex_.Lock();
  return answer;
}

Status Snapshot::BeginUse(const Ask& ask) {
  const MutexLock lock(mutex_);
  if (is_used_ || was_used_) {
    return FailedPrecondition("a staged state can be saved once");
  }
  while (true) {
    DCP_RETURN_IF_ERROR(CheckLocked());
    if (phase_ == Phase::kAwaitingMemory && !streams_all_) {
      streams_all_ = true;
      mutex_.Unlock();  // the arena calls with its own lock held
      parts_.arena.WakeWaiters();
      mutex_.Lock();
      continue;
    }
    if (phase_ == Phase::kCopying || phase_ == Phase::kEnded) break;
    DCP_RETURN_IF_ERROR(WaitAndAsk(ask));
  }
  is_used_ = true;
  return absl::OkStatus();
}

void Snapshot::EndStreaming() {
  Unneeded unneeded;
  const MutexLock lock(mutex_);
  has_streamed_ = true;
  unneeded = SettleLocked();
}

void Snapshot::EndUse() {
  stops_ = true;
  parts_.arena.WakeWaiters();
  Unneeded unneeded;
  const MutexLock lock(mutex_);
  is_used_ = false;
  was_used_ = true;
  unneeded = SettleLocked();
}

bool Snapshot::IsStreamed(size_t view) const {
  return streams_all_ ||
         layout_.places[view].kind == StagedPlace::Kind::kStreamed;
}

/// Whether what is copied has to wait for the other copies.
bool Snapshot::IsHeldBackLocked() const {
  constexpr auto kHost = static_cast<size_t>(LaneKind::kHost);
  return options_.copies_first &&
         copiers_[kHost].front() < layout_.lanes[kHost].nbytes;
}

bool Snapshot::IsThereLocked(size_t view) const {
  if (streams_all_) return true;
  const StagedPlace& place = layout_.places[view];
  if (place.kind != StagedPlace::Kind::kStaged) return true;
  return copiers_[static_cast<size_t>(place.lane)].front() >= place.end &&
         !IsHeldBackLocked();
}

Status Snapshot::AwaitThere(size_t view, const Ask& ask) {
  const MutexLock lock(mutex_);
  while (true) {
    DCP_RETURN_IF_ERROR(CheckLocked());
    if (IsThereLocked(view)) break;
    DCP_RETURN_IF_ERROR(WaitAndAsk(ask));
  }
  if (has_streamed_ && IsStreamed(view)) {
    return FailedPrecondition("what was streamed cannot be read again");
  }
  return absl::OkStatus();
}

Status Snapshot::AwaitCopyRate(int64_t nbytes, const Ask& ask) {
  if (options_.copy_rate == nullptr) return absl::OkStatus();
  Status answer;
  options_.copy_rate->Await(nbytes, [&] {
    answer.Update(Check());
    answer.Update(ask());
    return !answer.ok();
  });
  return answer;
}

StatusOr<TensorView> Snapshot::AwaitView(const TensorView& view, size_t number,
                                         const Ask& ask) {
  DCP_RETURN_IF_ERROR(AwaitThere(number, ask));
  if (IsStreamed(number)) return device_copiers_.OnOwnStream(view);
  const StagedPlace& place = layout_.places[number];
  if (place.kind != StagedPlace::Kind::kStaged) return view;
  TensorView copy = view;
  copy.data = memory_ + layout_.LaneBegin(place.lane) + place.offset;
  copy.strides = place.strides;
  copy.device = {};
  copy.stream = 0;
  return copy;
}

}  // namespace dcp
