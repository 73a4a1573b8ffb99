#include "staging/snapshot_layout.h"

#include <limits>
#include <unordered_map>
#include <utility>

#include "base/chunk_image.h"

namespace dcp {
namespace {

// Of every copy: a line of the cache, and a multiple of every item size.
constexpr int64_t kAlignment = 64;

int64_t Aligned(int64_t nbytes) {
  return (nbytes + kAlignment - 1) / kAlignment * kAlignment;
}

/// The part of `view` that is in memory once, as it is there: dimensions of
/// stride 0 are cut to one element, and no op is applied.
TensorView WithoutRepeats(const TensorView& view) {
  TensorView part = view;
  part.op = ElementOp::kNone;
  for (int d = 0; d < part.sizes.size(); ++d) {
    if (part.strides[d] == 0 && part.sizes[d] > 1) part.sizes[d] = 1;
  }
  return part;
}

/// Row-major strides of `job`'s copy for `view`, which repeats elements.
Dims StridesOfRows(const CopyJob& job, const TensorView& view) {
  Dims strides = ContiguousStrides(job.source.sizes);
  for (int d = 0; d < strides.size(); ++d) {
    if (view.strides[d] == 0) strides[d] = 0;
  }
  return strides;
}

bool CopiesTheSame(const CopyJob& a, const CopyJob& b) {
  if (a.source.data != b.source.data || a.nbytes != b.nbytes ||
      a.is_dense != b.is_dense || a.source.device != b.source.device) {
    return false;
  }
  if (a.is_dense) return true;
  return a.source.dtype == b.source.dtype && a.source.sizes == b.source.sizes &&
         a.source.strides == b.source.strides;
}

class Builder {
 public:
  explicit Builder(int64_t max_nbytes) : room_(max_nbytes) {}

  void Add(const TensorView& view) {
    StagedPlace& place = layout_.places.emplace_back();
    const auto nbytes = NbytesInMemory(view);
    if (!nbytes) return;
    CopyJob job{.source = WithoutRepeats(view), .nbytes = *nbytes};
    job.is_dense = job.source.is_contiguous() ||
                   DenseOrder(job.source.sizes, job.source.strides).has_value();
    place.lane = view.device.type == DeviceType::kCpu ? LaneKind::kHost
                                                      : LaneKind::kDevice;
    const auto offset = Place(place.lane, job);
    if (!offset) {
      place.kind = StagedPlace::Kind::kStreamed;
      layout_.nbytes_streamed += *nbytes;
      return;
    }
    place.kind = StagedPlace::Kind::kStaged;
    place.offset = *offset;
    place.end = *offset + *nbytes;
    place.strides = job.is_dense ? view.strides : StridesOfRows(job, view);
  }

  void Reserve(size_t count) {
    layout_.places.reserve(count);
    known_.reserve(count);
  }

  SnapshotLayout Take() && { return std::move(layout_); }

 private:
  struct JobRef {
    LaneKind lane;
    size_t index;
  };

  /// Where the copy of `job` lies; nullopt if there is no room.
  std::optional<int64_t> Place(LaneKind kind, CopyJob& job) {
    CopyLane& lane = layout_.lane(kind);
    const auto [first, last] = known_.equal_range(job.source.data);
    for (auto found = first; found != last; ++found) {
      const JobRef ref = found->second;
      if (ref.lane != kind) continue;
      const CopyJob& other = lane.jobs[ref.index];
      if (CopiesTheSame(other, job)) return other.offset;
    }
    if (room_ < job.nbytes || Aligned(job.nbytes) > room_) return std::nullopt;
    room_ -= Aligned(job.nbytes);
    job.offset = lane.nbytes;
    lane.nbytes += Aligned(job.nbytes);
    known_.emplace(job.source.data, JobRef{kind, lane.jobs.size()});
    lane.jobs.push_back(job);
    return job.offset;
  }

  int64_t room_;
  SnapshotLayout layout_;
  std::unordered_multimap<const void*, JobRef> known_;
};

}  // namespace

std::optional<int64_t> NbytesInMemory(const TensorView& view) {
  if (view.strides.size() != view.sizes.size()) return std::nullopt;
  const auto numel = CheckedNumel(WithoutRepeats(view).sizes);
  if (!numel || *numel == 0 || view.data == nullptr ||
      *numel > std::numeric_limits<int64_t>::max() / ItemSize(view.dtype)) {
    return std::nullopt;
  }
  return *numel * ItemSize(view.dtype);
}

int64_t SnapshotLayout::LaneBegin(LaneKind kind) const {
  return kind == LaneKind::kHost ? 0 : lane(LaneKind::kHost).nbytes;
}

int64_t SnapshotLayout::nbytes() const {
  return lanes[0].nbytes + lanes[1].nbytes;
}

SnapshotLayout LayOutSnapshot(std::span<const TensorView> views,
                              int64_t max_nbytes) {
  Builder builder(max_nbytes);
  builder.Reserve(views.size());
  for (const TensorView& view : views) builder.Add(view);
  return std::move(builder).Take();
}

}  // namespace dcp
