// HostArena: the host memory of a process's snapshots.

#ifndef DCP_STAGING_HOST_ARENA_H_
#define DCP_STAGING_HOST_ARENA_H_

#include <sys/types.h>

#include <cstddef>
#include <cstdint>
#include <functional>
#include <map>
#include <memory>
#include <optional>
#include <span>
#include <utility>
#include <vector>

#include "absl/base/thread_annotations.h"
#include "base/mutex.h"
#include "dcp/status.h"
#include "staging/huge_pages.h"
#include "staging/pinned_chunks.h"

namespace dcp {

/// Where an arena's memory comes from: the seam for memory that is shared with
/// another process, or refused by a test. Called by one thread at a time, but
/// for Prefer.
class PageSource {
 public:
  virtual ~PageSource() = default;
  /// `nbytes`, whole pages, aligned to 2 MiB.
  /// \error kResourceExhausted  there is no memory
  virtual StatusOr<std::span<std::byte>> Map(size_t nbytes) = 0;
  /// Takes back whole pages of one or of several neighboring Maps.
  virtual void Unmap(std::span<std::byte> memory) = 0;
  /// Asks for the pages of `memory`, some of one or of several neighboring
  /// Maps, at a NUMA node (PreferNode). In any thread.
  virtual void Prefer(std::span<std::byte> memory, int node) = 0;
};

/// Anonymous memory (MapHugePages).
std::unique_ptr<PageSource> MakeAnonymousPages();

class HostArena;

/// Memory that one snapshot has. Goes back to the arena, which must outlive
/// it; in a forked child there is nothing to go back.
class ArenaLease {
 public:
  ArenaLease() = default;
  ArenaLease(ArenaLease&& other) noexcept
      : arena_(other.arena_), memory_(std::exchange(other.memory_, {})) {}
  ArenaLease& operator=(ArenaLease&& other) noexcept {
    std::swap(arena_, other.arena_);
    std::swap(memory_, other.memory_);
    return *this;
  }
  ArenaLease(const ArenaLease&) = delete;
  ArenaLease& operator=(const ArenaLease&) = delete;
  ~ArenaLease();

  std::span<std::byte> memory() const { return memory_; }

 private:
  friend class HostArena;
  ArenaLease(HostArena& arena, std::span<std::byte> memory)
      : arena_(&arena), memory_(memory) {}

  HostArena* arena_ = nullptr;
  std::span<std::byte> memory_;
};

/// What is asked of an arena.
struct ArenaRequest {
  int64_t nbytes = 0;
  /// What all leases may have together, this one included; not below `nbytes`.
  int64_t max_nbytes = 0;
};

/// Keeps what was given back for the next lease: memory that was never touched
/// may take longer to come than to fill. Thread-safe.
class HostArena {
 public:
  explicit HostArena(std::unique_ptr<PageSource> pages);
  HostArena(const HostArena&) = delete;
  HostArena& operator=(const HostArena&) = delete;
  ~HostArena();

  /// Unit of what a lease counts: a limit is best a multiple of it.
  static constexpr int64_t kPage = kPageSize;

  /// An empty lease: others have so much that this one has to wait.
  /// \error kResourceExhausted  the system has no memory
  StatusOr<ArenaLease> TryTake(const ArenaRequest& request);
  /// As TryTake, but waits for the others until `gives_up` is true; then the
  /// lease is empty. Who changes that calls WakeWaiters().
  StatusOr<ArenaLease> Take(const ArenaRequest& request,
                            const std::function<bool()>& gives_up);
  void WakeWaiters();

  /// Pins the pages of `memory`, which is of a lease and has nothing in it yet,
  /// so far as they are not. Asks `is_over` before each chunk.
  /// They are asked for at the host's NUMA node that the device is at.
  /// They stay pinned until they are unmapped, in chunks: at both ends of a
  /// lease up to a chunk more than a limit may stay mapped.
  /// \error kCancelled  it is over
  /// \error others  a part is not pinned
  Status Pin(std::span<std::byte> memory, const PinFor& pin_for, int threads,
             const std::function<bool()>& is_over);
  /// The first error of unpinning since the last call, whoever's memory it was.
  Status TakeUnpinStatus();
  /// Places in `memory` that no device's batch may cross, ascending.
  std::vector<const std::byte*> PinBordersIn(std::span<std::byte> memory) const;

  /// Takes, touches and gives back memory for leases of `request.nbytes`, or of
  /// as much as others leave; pins it if that goes.
  /// \error kResourceExhausted  the system has no memory
  Status Prewarm(const ArenaRequest& request, int threads,
                 const std::optional<PinFor>& pin_for = std::nullopt);

  /// Unmaps what nobody has.
  void ReleaseFree();
  /// What is mapped, in use or not.
  int64_t nbytes() const;
  /// What the leases have.
  int64_t leased_nbytes() const;

 private:
  friend class ArenaLease;
  friend HostArena* FindProcessArena();
  using Memory = std::span<std::byte>;

  StatusOr<ArenaLease> TryTakeLocked(const ArenaRequest& request)
      ABSL_EXCLUSIVE_LOCKS_REQUIRED(mutex_);
  /// The smallest free extent that has `nbytes`, cut to them; else empty.
  Memory TakeFree(size_t nbytes) ABSL_EXCLUSIVE_LOCKS_REQUIRED(mutex_);
  StatusOr<Memory> MapMore(size_t nbytes, size_t max_nbytes)
      ABSL_EXCLUSIVE_LOCKS_REQUIRED(mutex_);
  void AddFree(Memory memory) ABSL_EXCLUSIVE_LOCKS_REQUIRED(mutex_);
  void Remember(Memory memory) ABSL_EXCLUSIVE_LOCKS_REQUIRED(mutex_);
  /// Unmaps free extents until `max_nbytes` are mapped, or none is left.
  void TrimFree(size_t max_nbytes) ABSL_EXCLUSIVE_LOCKS_REQUIRED(mutex_);
  void Return(Memory memory);
  /// Before memory is touched for the first time, best.
  void PreferNodeOf(const PinFor& pin_for, Memory memory);
  Status PinChunk(Memory chunk, Memory touched, const PinFor& pin_for,
                  int threads);

  const pid_t owner_;
  const std::unique_ptr<PageSource> pages_;
  mutable Mutex mutex_;
  CondVar returned_;
  std::map<std::byte*, size_t> free_ ABSL_GUARDED_BY(mutex_);
  PinnedChunks pins_ ABSL_GUARDED_BY(mutex_);
  size_t mapped_ ABSL_GUARDED_BY(mutex_) = 0;
  size_t leased_ ABSL_GUARDED_BY(mutex_) = 0;
};

/// The arena of this process; lives as long. A forked child gets a new one.
HostArena& ProcessArena();
/// Null if nobody has asked for it yet.
HostArena* FindProcessArena();

}  // namespace dcp

#endif  // DCP_STAGING_HOST_ARENA_H_
