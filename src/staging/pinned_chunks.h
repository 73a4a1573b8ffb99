// PinnedChunks: which parts of an arena's memory devices have pinned.

#ifndef DCP_STAGING_PINNED_CHUNKS_H_
#define DCP_STAGING_PINNED_CHUNKS_H_

#include <cstddef>
#include <functional>
#include <map>
#include <memory>
#include <span>
#include <utility>
#include <vector>

#include "dcp/device_runtime.h"
#include "dcp/status.h"

namespace dcp {

/// The device that memory is pinned for.
struct PinFor {
  std::shared_ptr<DeviceRuntime> runtime;
  Device device;
};

/// Chunks are pinned one by one, and unpinned as they were pinned: what lies
/// partly in one cannot be unmapped alone, and no batch may cross its end.
/// One thread at a time.
class PinnedChunks {
 public:
  using Memory = std::span<std::byte>;
  /// The largest.
  static constexpr size_t kChunk = size_t{64} << 20;

  /// What is not pinned of `memory`, whole pages, in chunks.
  std::vector<Memory> GapsIn(Memory memory) const;
  /// One of these counts as pinned from now on, which the caller does, or takes
  /// back.
  void Add(Memory chunk, const PinFor& pin_for) {
    chunks_[chunk.data()] = {.nbytes = chunk.size(), .pin_for = pin_for};
  }
  void Forget(Memory chunk) { chunks_.erase(chunk.data()); }

  /// What of `extent`, which nobody uses, can be unmapped if `nbytes` of its
  /// end should be: not what is in a chunk that others use a part of, and more,
  /// where a chunk begins earlier.
  Memory Removable(Memory extent, size_t nbytes) const;
  /// Unpins the chunks in `memory`, which is Removable.
  void Unpin(Memory memory);
  /// Whether a chunk has some of `memory`.
  bool HasAnyOf(Memory memory) const;

  /// Where chunks begin and end in `memory`, ascending.
  std::vector<const std::byte*> BordersIn(Memory memory) const;

  /// The first error of an Unpin since the last call.
  Status TakeTrouble() { return std::exchange(trouble_, absl::OkStatus()); }

 private:
  struct Chunk {
    size_t nbytes = 0;
    PinFor pin_for;
  };
  /// The chunk that has bytes on both sides of `place`; null if none has.
  const std::pair<std::byte* const, Chunk>* Across(
      const std::byte* place) const;

  std::map<std::byte*, Chunk, std::less<>> chunks_;
  Status trouble_;
};

}  // namespace dcp

#endif  // DCP_STAGING_PINNED_CHUNKS_H_
