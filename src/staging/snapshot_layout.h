// SnapshotLayout: where the tensors of a snapshot lie in host memory.

#ifndef DCP_STAGING_SNAPSHOT_LAYOUT_H_
#define DCP_STAGING_SNAPSHOT_LAYOUT_H_

#include <array>
#include <cstddef>
#include <cstdint>
#include <optional>
#include <span>
#include <vector>

#include "dcp/tensor_view.h"

namespace dcp {

/// Memory that is copied once, whatever number of views shares it.
struct CopyJob {
  /// Without dimensions of stride 0.
  TensorView source;
  /// Whether `source` has no gaps: its bytes are copied as they lie. If not,
  /// its elements are, row by row.
  bool is_dense = true;
  int64_t offset = 0;  ///< in the lane's memory
  int64_t nbytes = 0;
};

/// What is copied in the same way, in order of offsets.
struct CopyLane {
  std::vector<CopyJob> jobs;
  int64_t nbytes = 0;
};

enum class LaneKind : uint8_t { kHost, kDevice };
inline constexpr size_t kLaneCount = 2;

/// What becomes of one view.
struct StagedPlace {
  enum class Kind : uint8_t {
    kUsedAsItIs,  ///< has no bytes, or is not a view that can be read
    kStaged,
    kStreamed,  ///< is read from the caller's memory when it is written
  };
  Kind kind = Kind::kUsedAsItIs;
  LaneKind lane = LaneKind::kHost;
  int64_t offset = 0;  ///< of the first element, in the lane's memory
  int64_t end = 0;     ///< of what must be there before it is read
  Dims strides;        ///< of the copy
};

struct SnapshotLayout {
  std::vector<StagedPlace> places;  ///< by view
  std::array<CopyLane, kLaneCount> lanes;
  int64_t nbytes_streamed = 0;

  const CopyLane& lane(LaneKind kind) const {
    return lanes[static_cast<size_t>(kind)];
  }
  CopyLane& lane(LaneKind kind) { return lanes[static_cast<size_t>(kind)]; }
  /// Where the memory of a lane begins in that of the snapshot, and what all
  /// lanes take.
  int64_t LaneBegin(LaneKind kind) const;
  int64_t nbytes() const;
};

/// What a copy of `view` takes: elements that it repeats count once. nullopt
/// for a view without elements, and for one that cannot be read.
std::optional<int64_t> NbytesInMemory(const TensorView& view);

/// Gives a place to each of `views`, in their order, as long as there is room
/// in `max_nbytes`; what does not fit is streamed. Views of the same memory
/// share a place, and an expanded view takes no more than what it shows.
SnapshotLayout LayOutSnapshot(std::span<const TensorView> views,
                              int64_t max_nbytes);

}  // namespace dcp

#endif  // DCP_STAGING_SNAPSHOT_LAYOUT_H_
