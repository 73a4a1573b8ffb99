// Which elements of a source a box of a target needs:
// 1. Along each dimension of the target, the axes of a part make up a mixed
//    radix. An interval of its indices becomes a few ranges of axes (Cover).
// 2. A combination of such ranges, one of each dimension, is a grid. Along each
//    dimension of the source, the axis whose step is 1 makes a run; the others
//    are counted through, a read for each of their combinations.

#include <algorithm>
#include <optional>
#include <utility>

#include "dcp/mapping.h"

namespace dcp {
namespace {

struct Range {
  int64_t begin = 0;
  int64_t size = 0;
};
/// By axis.
using Ranges = std::vector<Range>;
using Axes = std::vector<MappedAxis>;

int64_t FloorDiv(int64_t a, int64_t b) {
  return a >= 0 ? a / b : -((b - 1 - a) / b);
}

int64_t CeilDiv(int64_t a, int64_t b) { return FloorDiv(a + b - 1, b); }

/// Finds the ranges of axes, the one with the largest step first, whose
/// positions, the sums of i * target_step, lie in an interval.
class Cover {
 public:
  explicit Cover(std::span<const MappedAxis> axes) : axes_(axes) {
    extents_.push_back(1);
    for (size_t i = axes.size(); i-- > 0;) {
      extents_.push_back(extents_.back() +
                         (axes[i].size - 1) * axes[i].target_step);
    }
    std::reverse(extents_.begin(), extents_.end());
  }

  std::vector<Ranges> Of(int64_t begin, int64_t end) && {
    Find(0, begin, end);
    return std::move(found_);
  }

 private:
  void Find(size_t i, int64_t begin, int64_t end) {
    if (begin <= 0 && end >= extents_[i]) {
      Ranges all = prefix_;
      for (size_t k = i; k < axes_.size(); ++k) {
        all.push_back({.begin = 0, .size = axes_[k].size});
      }
      found_.push_back(std::move(all));
      return;
    }
    if (end <= 0 || begin >= extents_[i]) return;
    const int64_t step = axes_[i].target_step;
    const int64_t inner = extents_[i + 1];
    const int64_t size = axes_[i].size;
    // Indices of which some of the inner positions lie in the interval, and
    // those of which all do.
    const int64_t first =
        std::max<int64_t>(FloorDiv(begin - inner, step) + 1, 0);
    const int64_t last = std::min(CeilDiv(end, step), size);
    const int64_t whole = std::max<int64_t>(CeilDiv(begin, step), 0);
    const int64_t whole_end = std::min(FloorDiv(end - inner, step) + 1, size);
    for (int64_t at = first; at < last;) {
      const int64_t count =
          at == whole && whole < whole_end ? whole_end - whole : 1;
      prefix_.push_back({.begin = at, .size = count});
      if (at == whole && whole < whole_end) {
        Find(i + 1, 0, inner);
      } else {
        Find(i + 1, begin - at * step, end - at * step);
      }
      prefix_.pop_back();
      at += count;
    }
  }

  const std::span<const MappedAxis> axes_;
  std::vector<int64_t> extents_;  // of the positions of axes from i on
  Ranges prefix_;
  std::vector<Ranges> found_;
};

/// The axes along one dimension of the target, and ranges of them.
struct DimCover {
  Axes axes;
  std::vector<Ranges> covers;
};

std::optional<DimCover> CoverDim(const MappedPart& part, int dim, int64_t begin,
                                 int64_t end) {
  DimCover found;
  for (const MappedAxis& axis : part.axes) {
    if (axis.target_dim == dim) found.axes.push_back(axis);
  }
  std::sort(found.axes.begin(), found.axes.end(),
            [](const MappedAxis& a, const MappedAxis& b) {
              return a.target_step > b.target_step;
            });
  const int64_t offset = part.target_offsets[dim];
  found.covers = Cover(found.axes).Of(begin - offset, end - offset);
  if (found.covers.empty()) return std::nullopt;
  return found;
}

/// Appends the reads of one grid.
class GridReads {
 public:
  GridReads(const MappedPart& part, const Box& box,
            std::vector<MappedRead>* reads)
      : part_(part), box_(box), reads_(*reads) {}

  /// Takes the axes of a dimension of the target, narrowed to `ranges`.
  void Add(const Axes& axes, const Ranges& ranges) {
    for (size_t i = 0; i < axes.size(); ++i) {
      MappedAxis axis = axes[i];
      source_[axis.source_dim] += ranges[i].begin * axis.source_step;
      target_[axis.target_dim] += ranges[i].begin * axis.target_step;
      axis.size = ranges[i].size;
      if (axis.size > 1) axes_.push_back(axis);
    }
  }

  void Finish() && {
    MappedRead read{.source = part_.source,
                    .box = {.sizes = Dims::Filled(source_.size(), 1)},
                    .target_dims = Dims::Filled(source_.size(), 0),
                    .target_steps = Dims::Filled(source_.size(), 0)};
    for (int d = 0; d < target_.size(); ++d) target_[d] -= box_.offsets[d];
    Axes counted;
    for (const MappedAxis& axis : axes_) {
      if (axis.source_step != 1) {
        counted.push_back(axis);
        continue;
      }
      read.box.sizes[axis.source_dim] = axis.size;
      read.target_dims[axis.source_dim] = axis.target_dim;
      read.target_steps[axis.source_dim] = axis.target_step;
    }
    // As they lie in the source, so that what is read ascends.
    std::sort(counted.begin(), counted.end(),
              [](const MappedAxis& a, const MappedAxis& b) {
                return std::pair(a.source_dim, -a.source_step) <
                       std::pair(b.source_dim, -b.source_step);
              });
    Count(counted, &read);
  }

 private:
  void Count(std::span<const MappedAxis> axes, MappedRead* read) {
    if (axes.empty()) {
      read->box.offsets = source_;
      read->target_offsets = target_;
      reads_.push_back(*read);
      return;
    }
    const MappedAxis& axis = axes.front();
    for (int64_t i = 0; i < axis.size; ++i) {
      Count(axes.subspan(1), read);
      source_[axis.source_dim] += axis.source_step;
      target_[axis.target_dim] += axis.target_step;
    }
    source_[axis.source_dim] -= axis.size * axis.source_step;
    target_[axis.target_dim] -= axis.size * axis.target_step;
  }

  const MappedPart& part_;
  const Box& box_;
  std::vector<MappedRead>& reads_;
  Dims source_ = part_.source_offsets;
  Dims target_ = part_.target_offsets;
  Axes axes_;
};

void AppendReads(const MappedPart& part, const Box& box,
                 std::vector<MappedRead>* reads) {
  std::vector<DimCover> dims;
  for (int d = 0; d < box.ndim(); ++d) {
    std::optional<DimCover> dim =
        CoverDim(part, d, box.offsets[d], box.offsets[d] + box.sizes[d]);
    if (!dim) return;
    dims.push_back(*std::move(dim));
  }
  // Every combination of a cover of each dimension.
  std::vector<size_t> choice(dims.size(), 0);
  for (;;) {
    GridReads grid(part, box, reads);
    for (size_t d = 0; d < dims.size(); ++d) {
      grid.Add(dims[d].axes, dims[d].covers[choice[d]]);
    }
    std::move(grid).Finish();
    size_t d = dims.size();
    while (d > 0 && ++choice[d - 1] == dims[d - 1].covers.size()) {
      choice[--d] = 0;
    }
    if (d == 0) return;
  }
}

/// The part as one that takes the target's elements to the source. The steps
/// along its target, which is the source, are above 0.
MappedPart Reversed(const MappedPart& part) {
  MappedPart reversed{.source = part.source,
                      .source_offsets = part.target_offsets,
                      .target_offsets = part.source_offsets};
  for (const MappedAxis& axis : part.axes) {
    MappedAxis back{.size = axis.size,
                    .source_dim = axis.target_dim,
                    .source_step = axis.target_step,
                    .target_dim = axis.source_dim,
                    .target_step = axis.source_step};
    if (back.target_step < 0) {  // from its last index on
      const int64_t last = back.size - 1;
      reversed.source_offsets[back.source_dim] += last * back.source_step;
      reversed.target_offsets[back.target_dim] += last * back.target_step;
      back.source_step = -back.source_step;
      back.target_step = -back.target_step;
    }
    reversed.axes.push_back(back);
  }
  return reversed;
}

}  // namespace

std::vector<MappedRead> WritesOf(const MappedPart& part, const Box& box) {
  std::vector<MappedRead> writes;
  if (box.numel() > 0) AppendReads(Reversed(part), box, &writes);
  return writes;
}

std::vector<MappedRead> ReadsOf(const MappedTensor& tensor, const Box& box) {
  std::vector<MappedRead> reads;
  if (box.numel() == 0) return reads;
  for (const MappedPart& part : tensor.parts) AppendReads(part, box, &reads);
  return reads;
}

}  // namespace dcp
