// 1. Memory is mapped for a lease that no free extent can hold, and stays
//    mapped when the lease ends. Free neighbors become one extent.
// 2. A lease takes the front of the smallest extent that holds it. If none
//    does, all free extents go: they are of smaller, earlier states.
// 3. What is mapped stays below the limit of the lease that asks: free extents
//    are unmapped first, but for parts of chunks that others have a part of.
// 4. A little more is mapped than was asked for, so that a state that grows
//    a bit finds room; what is never touched costs nothing.
// 5. What devices copy to is pinned, without the lock, and stays so: pinning is
//    slower than copying. Before pages are unmapped they are unpinned. See
//    host_arena_pin.cc.
// 6. On a host with several NUMA nodes that memory is the device's node's. The
//    rest is that of the threads that touch it first, to copy to it.

#include "staging/host_arena.h"

#include <sys/mman.h>
#include <unistd.h>

#include <algorithm>
#include <atomic>
#include <bit>
#include <iterator>
#include <new>

#include "base/round_up.h"
#include "staging/huge_pages.h"
#include "staging/prefer_node.h"

namespace dcp {
namespace {

class AnonymousPages final : public PageSource {
 public:
  StatusOr<std::span<std::byte>> Map(size_t nbytes) override {
    return MapHugePages(nbytes);
  }
  void Unmap(std::span<std::byte> memory) override {
    munmap(memory.data(), memory.size());
  }
  void Prefer(std::span<std::byte> memory, int node) override {
    PreferNode(memory, node);
  }
};

/// Whole huge pages where they fit the limit.
size_t LeaseSize(const ArenaRequest& request) {
  const auto nbytes = static_cast<size_t>(request.nbytes);
  const size_t huge = RoundUpTo(nbytes, kHugePage);
  const bool fits = huge <= static_cast<size_t>(request.max_nbytes);
  return nbytes >= kHugePage && fits ? huge : RoundUpTo(nbytes, kPageSize);
}

/// Up to a sixteenth more.
size_t WithRoom(size_t nbytes) {
  return RoundUpTo(nbytes, std::max(kHugePage, std::bit_floor(nbytes) / 16));
}

}  // namespace

std::unique_ptr<PageSource> MakeAnonymousPages() {
  return std::make_unique<AnonymousPages>();
}

ArenaLease::~ArenaLease() {
  if (!memory_.empty()) arena_->Return(memory_);
}

HostArena::HostArena(std::unique_ptr<PageSource> pages)
    : owner_(::getpid()), pages_(std::move(pages)) {}

HostArena::~HostArena() { ReleaseFree(); }

StatusOr<ArenaLease> HostArena::TryTake(const ArenaRequest& request) {
  const MutexLock lock(mutex_);
  return TryTakeLocked(request);
}

StatusOr<ArenaLease> HostArena::Take(const ArenaRequest& request,
                                     const std::function<bool()>& gives_up) {
  const MutexLock lock(mutex_);
  while (!gives_up()) {
    DCP_ASSIGN_OR_RETURN(ArenaLease lease, TryTakeLocked(request));
    if (!lease.memory().empty()) return lease;
    returned_.Wait(mutex_);
  }
  return ArenaLease();
}

void HostArena::WakeWaiters() {
  const MutexLock lock(mutex_);
  returned_.NotifyAll();
}

StatusOr<ArenaLease> HostArena::TryTakeLocked(const ArenaRequest& request) {
  const size_t nbytes = LeaseSize(request);
  const auto max_nbytes =
      std::max(static_cast<size_t>(request.max_nbytes), nbytes);
  if (leased_ > max_nbytes - nbytes) return ArenaLease();
  Memory memory = TakeFree(nbytes);
  if (memory.empty()) {
    DCP_ASSIGN_OR_RETURN(memory, MapMore(nbytes, max_nbytes));
  }
  leased_ += nbytes;
  TrimFree(max_nbytes);
  return ArenaLease(*this, memory);
}

HostArena::Memory HostArena::TakeFree(size_t nbytes) {
  auto best = free_.end();
  for (auto extent = free_.begin(); extent != free_.end(); ++extent) {
    if (extent->second < nbytes) continue;
    if (best == free_.end() || extent->second < best->second) best = extent;
  }
  if (best == free_.end()) return {};
  const Memory memory(best->first, nbytes);
  auto node = free_.extract(best);
  node.key() += nbytes;
  node.mapped() -= nbytes;
  if (node.mapped() > 0) free_.insert(std::move(node));
  return memory;
}

StatusOr<HostArena::Memory> HostArena::MapMore(size_t nbytes,
                                               size_t max_nbytes) {
  TrimFree(0);
  const size_t room = (max_nbytes - std::min(max_nbytes, mapped_)) / kPageSize;
  const size_t wanted =
      std::max(nbytes, std::min(WithRoom(nbytes), room * kPageSize));
  StatusOr<Memory> memory = pages_->Map(wanted);
  if (!memory.ok() && wanted > nbytes) memory = pages_->Map(nbytes);
  DCP_RETURN_IF_ERROR(memory.status());
  mapped_ += memory->size();
  if (memory->size() > nbytes) AddFree(memory->subspan(nbytes));
  return memory->first(nbytes);
}

void HostArena::AddFree(Memory memory) {
  const auto next = free_.lower_bound(memory.data());
  auto extent = next;
  if (next != free_.begin()) {
    const auto previous = std::prev(next);
    if (previous->first + previous->second == memory.data()) {
      previous->second += memory.size();
      extent = previous;
    }
  }
  const bool touches_next =
      next != free_.end() && memory.data() + memory.size() == next->first;
  if (extent != next) {
    if (!touches_next) return;
    extent->second += next->second;
    free_.erase(next);
  } else if (touches_next) {
    auto node = free_.extract(next);
    node.key() = memory.data();
    node.mapped() += memory.size();
    free_.insert(std::move(node));
  } else {
    Remember(memory);
  }
}

/// A lease ends where nothing may be thrown.
void HostArena::Remember(Memory memory) {
  try {
    free_.emplace(memory.data(), memory.size());
  } catch (const std::bad_alloc&) {
    if (pins_.HasAnyOf(memory)) return;  // it is lost, and stays mapped
    pages_->Unmap(memory);
    mapped_ -= memory.size();
  }
}

void HostArena::TrimFree(size_t max_nbytes) {
  for (auto extent = free_.end();
       mapped_ > max_nbytes && extent != free_.begin();) {
    --extent;
    const Memory whole(extent->first, extent->second);
    const size_t excess =
        std::min(whole.size(), RoundUpTo(mapped_ - max_nbytes, kPageSize));
    const Memory part = pins_.Removable(whole, excess);
    if (part.empty()) continue;
    const auto before = static_cast<size_t>(part.data() - whole.data());
    const Memory behind = whole.subspan(before + part.size());
    extent->second = before;
    if (before == 0) extent = free_.erase(extent);
    if (!behind.empty()) Remember(behind);
    pins_.Unpin(part);
    pages_->Unmap(part);
    mapped_ -= part.size();
  }
}

void HostArena::Return(Memory memory) {
  if (::getpid() != owner_) return;  // a forked child does not have it
  const MutexLock lock(mutex_);
  leased_ -= memory.size();
  AddFree(memory);
  returned_.NotifyAll();
}

void HostArena::ReleaseFree() {
  if (::getpid() != owner_) return;
  const MutexLock lock(mutex_);
  TrimFree(0);
}

int64_t HostArena::nbytes() const {
  const MutexLock lock(mutex_);
  return static_cast<int64_t>(mapped_);
}

int64_t HostArena::leased_nbytes() const {
  const MutexLock lock(mutex_);
  return static_cast<int64_t>(leased_);
}

namespace {

// Never destroyed: leases may be given back by threads that end after the
// static objects. A child leaves its parent's alone: a thread that is not in
// the child may hold the mutex.
std::atomic<HostArena*>& ThePlace() {
  static std::atomic<HostArena*> place = nullptr;
  return place;
}

}  // namespace

HostArena* FindProcessArena() {
  HostArena* const arena = ThePlace().load();
  return arena != nullptr && arena->owner_ == ::getpid() ? arena : nullptr;
}

HostArena& ProcessArena() {
  HostArena* arena = FindProcessArena();
  if (arena != nullptr) return *arena;
  auto made = std::make_unique<HostArena>(MakeAnonymousPages());
  HostArena* of_parent = ThePlace().load();
  while (true) {
    if (ThePlace().compare_exchange_strong(of_parent, made.get())) {
      return *made.release();
    }
    arena = FindProcessArena();
    if (arena != nullptr) return *arena;
  }
}

}  // namespace dcp
