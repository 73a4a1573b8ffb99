// The part of an arena that has its memory touched and pinned, ahead of its
// use. A lease has whole pages, so the chunks of two leases are disjoint, and
// what a lease has not pinned nobody else pins.

#include <algorithm>

#include "base/guarded.h"
#include "base/round_up.h"
#include "staging/host_arena.h"
#include "staging/touch_pages.h"

namespace dcp {
namespace {

using Memory = std::span<std::byte>;

/// The pages that `memory`, of some lease, has a part of.
Memory WholePages(Memory memory) {
  const size_t before = reinterpret_cast<uintptr_t>(memory.data()) % kPageSize;
  return {memory.data() - before, RoundUpTo(memory.size() + before, kPageSize)};
}

/// What of `chunk` is in `memory`, which it overlaps.
Memory PartIn(Memory memory, Memory chunk) {
  return {std::max(memory.data(), chunk.data()),
          std::min(memory.data() + memory.size(), chunk.data() + chunk.size())};
}

}  // namespace

Status HostArena::Pin(Memory memory, const PinFor& pin_for, int threads,
                      const std::function<bool()>& is_over) {
  std::vector<Memory> gaps;
  {
    const MutexLock lock(mutex_);
    gaps = pins_.GapsIn(WholePages(memory));
  }
  for (const Memory gap : gaps) {
    PreferNodeOf(pin_for, gap);
    if (is_over()) {
      return MakeStatus(absl::StatusCode::kCancelled, "nobody needs it pinned");
    }
    DCP_RETURN_IF_ERROR(PinChunk(gap, PartIn(memory, gap), pin_for, threads));
  }
  return absl::OkStatus();
}

void HostArena::PreferNodeOf(const PinFor& pin_for, Memory memory) {
  const auto node = pin_for.runtime->HostNode(pin_for.device);
  if (node) pages_->Prefer(memory, *node);
}

Status HostArena::PinChunk(Memory chunk, Memory touched, const PinFor& pin_for,
                           int threads) {
  TouchPages(touched, threads);  // the driver has one thread for that
  {
    const MutexLock lock(mutex_);
    pins_.Add(chunk, pin_for);
  }
  const Status pinned =
      Guarded([&] { return pin_for.runtime->Pin(chunk, pin_for.device); });
  if (!pinned.ok()) {
    const MutexLock lock(mutex_);
    pins_.Forget(chunk);
  }
  return pinned;
}

Status HostArena::TakeUnpinStatus() {
  const MutexLock lock(mutex_);
  return pins_.TakeTrouble();
}

std::vector<const std::byte*> HostArena::PinBordersIn(Memory memory) const {
  const MutexLock lock(mutex_);
  return pins_.BordersIn(memory);
}

Status HostArena::Prewarm(const ArenaRequest& request, int threads,
                          const std::optional<PinFor>& pin_for) {
  const int64_t left = std::max<int64_t>(
      0, request.max_nbytes / kPage * kPage - leased_nbytes());
  const int64_t nbytes = std::min(request.nbytes, left);
  if (nbytes <= 0) return absl::OkStatus();
  DCP_ASSIGN_OR_RETURN(
      const ArenaLease lease,
      TryTake({.nbytes = nbytes, .max_nbytes = request.max_nbytes}));
  if (pin_for) PreferNodeOf(*pin_for, WholePages(lease.memory()));
  TouchPages(lease.memory(), threads);
  // If that fails, it does so again when it matters, and is told then.
  if (pin_for) {
    (void)Pin(lease.memory(), *pin_for, threads, [] { return false; });
  }
  return absl::OkStatus();
}

}  // namespace dcp
