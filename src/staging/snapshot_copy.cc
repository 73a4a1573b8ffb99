// The part of a snapshot that Run() does: memory, and copies.

#include <algorithm>
#include <utility>

#include "base/guarded.h"
#include "base/traced.h"
#include "staging/device_stager.h"
#include "staging/snapshot.h"
#include "staging/threads.h"

namespace dcp {
namespace {

// Short enough that threads end at the same time and writers can begin early.
constexpr int64_t kHostUnit = int64_t{4} << 20;

}  // namespace

Status Snapshot::TakeMemory() {
  const int64_t limit =
      options_.max_nbytes / HostArena::kPage * HostArena::kPage;
  std::vector<TensorView> views;
  {
    const MutexLock lock(mutex_);
    views.swap(views_);
  }
  layout_ = LayOutSnapshot(views, limit);
  const ArenaRequest request{.nbytes = layout_.nbytes(), .max_nbytes = limit};
  ArenaLease lease;
  if (request.nbytes > 0) {
    DCP_ASSIGN_OR_RETURN(lease, TakeLease(request));
  }
  BeginLanes(lease.memory());
  const MutexLock lock(mutex_);
  if (is_pointless()) return absl::OkStatus();
  memory_ = lease.memory().data();
  lease_ = std::move(lease);
  phase_ = Phase::kCopying;
  changed_.NotifyAll();
  return absl::OkStatus();
}

StatusOr<ArenaLease> Snapshot::TakeLease(const ArenaRequest& request) {
  DCP_ASSIGN_OR_RETURN(ArenaLease lease, parts_.arena.TryTake(request));
  if (!lease.memory().empty()) return lease;
  {
    const MutexLock lock(mutex_);
    phase_ = Phase::kAwaitingMemory;
    changed_.NotifyAll();
  }
  return parts_.arena.Take(request, [this] { return is_pointless(); });
}

void Snapshot::BeginLanes(std::span<std::byte> memory) {
  for (LaneKind kind : {LaneKind::kHost, LaneKind::kDevice}) {
    const CopyLane& lane = layout_.lane(kind);
    copiers_[static_cast<size_t>(kind)].Begin(
        lane,
        memory.empty()
            ? memory
            : memory.subspan(static_cast<size_t>(layout_.LaneBegin(kind)),
                             static_cast<size_t>(lane.nbytes)),
        kind == LaneKind::kHost ? kHostUnit : DeviceStager::kUnit);
  }
}

Status Snapshot::CopyLanes() {
  DCP_RETURN_IF_ERROR(Check());
  const auto units_of = [this](LaneKind kind) {
    return copiers_[static_cast<size_t>(kind)].unit_count();
  };
  const size_t host_threads =
      std::min(static_cast<size_t>(std::max(options_.threads, 1)),
               units_of(LaneKind::kHost));
  // A device's copies are its own work: one thread asks for them.
  const size_t device_threads =
      std::min(size_t{1}, units_of(LaneKind::kDevice));
  RunOnThreads(host_threads + device_threads, [&](size_t thread) {
    thread < host_threads ? CopyHostUnits() : CopyDeviceUnits();
  });
  return absl::OkStatus();
}

void Snapshot::CopyHostUnits() {
  LaneCopier& copier = copiers_[static_cast<size_t>(LaneKind::kHost)];
  while (!stops_) {
    const auto unit = copier.TakeUnit();
    if (!unit) return;
    const Status copied = Traced(options_.trace.get(), "copy", [&] {
      return Guarded([&] {
        copier.CopyUnit(*unit);
        return absl::OkStatus();
      });
    });
    {
      const MutexLock lock(mutex_);
      status_.Update(copied);
      if (!status_.ok()) return;
    }
    MarkDone(LaneKind::kHost, *unit);
  }
}

void Snapshot::CopyDeviceUnits() {
  LaneCopier& lane = copiers_[static_cast<size_t>(LaneKind::kDevice)];
  const Status copied = Guarded([&] {
    const std::span<std::byte> memory(
        memory_ + layout_.LaneBegin(LaneKind::kDevice),
        static_cast<size_t>(layout_.lane(LaneKind::kDevice).nbytes));
    const bool is_pinned = PinDeviceLane(memory);
    DeviceStager stager(lane, device_copiers_,
                        {.is_pinned = is_pinned,
                         .borders = parts_.arena.PinBordersIn(memory),
                         .rate = options_.copy_rate,
                         .trace = options_.trace});
    return stager.Run(
        {.is_over = [this] { return IsOver(); },
         .on_copied =
             [this](size_t unit) { MarkDone(LaneKind::kDevice, unit); }});
  });
  const MutexLock lock(mutex_);
  status_.Update(copied);
}

/// Whether it is pinned. If not, devices copy to memory as it is.
bool Snapshot::PinDeviceLane(std::span<std::byte> memory) {
  if (!options_.pins_memory) return false;
  const Device device =
      layout_.lane(LaneKind::kDevice).jobs.front().source.device;
  const Status pinned = Guarded([&] {
    return parts_.arena.Pin(memory,
                            {.runtime = parts_.device, .device = device},
                            options_.threads, [this] { return IsOver(); });
  });
  if (pinned.code() == absl::StatusCode::kCancelled) return false;
  const Status unpinned = parts_.arena.TakeUnpinStatus();
  const MutexLock lock(mutex_);
  pin_status_ = pinned;
  pin_status_.Update(unpinned);
  return pinned.ok();
}

void Snapshot::MarkDone(LaneKind kind, size_t unit) {
  LaneCopier& copier = copiers_[static_cast<size_t>(kind)];
  const MutexLock lock(mutex_);
  const int64_t before = copier.front();
  copier.MarkDone(unit);
  if (copier.front() > before) changed_.NotifyAll();
}

}  // namespace dcp
