// Two methods, one after the other:
//
// 1. Cuts. Sorted by their begins in one dimension, boxes fall into groups
//    between which a straight cut goes: where all boxes before end before the
//    next begins. Each group is cut in the other dimensions, and so on, until
//    groups are single boxes. Device meshes make layouts that a cut in each
//    dimension takes apart.
// 2. Groups that no cut takes apart (a pinwheel; an overlap), or not within
//    kMaxCuts levels, go to a streamed segment tree (Zomorodian & Edelsbrunner,
//    "Fast software for box intersections", 2002): in one dimension after the
//    other, pairs are found of which one begins within the other, without ever
//    looking at pairs that do not meet.

#include "plan/box_overlap.h"

#include <algorithm>
#include <cstdint>
#include <vector>

namespace dcp {
namespace {

using Pair = std::pair<size_t, size_t>;
using Ids = std::span<uint32_t>;

constexpr int kMaxCuts = 24;
// So few pairs are compared one by one.
constexpr size_t kFewPairs = 64;

/// The boxes that are not empty, in the dimensions in which they differ.
class Overlaps {
 public:
  explicit Overlaps(std::span<const Box> boxes) {
    for (size_t i = 0; i < boxes.size(); ++i) {
      if (boxes[i].numel() > 0) positions_.push_back(i);
    }
    if (positions_.empty()) return;
    const Box& first = boxes[positions_[0]];
    for (int d = 0; d < first.ndim(); ++d) {
      const bool differ =
          std::any_of(positions_.begin(), positions_.end(), [&](size_t i) {
            return boxes[i].offsets[d] != first.offsets[d] ||
                   boxes[i].sizes[d] != first.sizes[d];
          });
      if (differ) AddDim(boxes, d);
    }
  }

  std::optional<Pair> Find() {
    if (positions_.size() < 2) return std::nullopt;
    if (ndim_ == 0) return Pair(positions_[0], positions_[1]);  // all the same
    std::vector<uint32_t> ids(positions_.size());
    for (uint32_t id = 0; id < ids.size(); ++id) ids[id] = id;
    const auto found = Cut(ids, {});
    if (!found) return std::nullopt;
    return Pair(positions_[found->first], positions_[found->second]);
  }

 private:
  struct Interval {
    int64_t begin = 0;
    int64_t end = 0;
  };

  struct CutState {
    size_t dim = 0;
    size_t uncut = 0;  ///< dimensions since the last cut
    int depth = 0;
  };

  void AddDim(std::span<const Box> boxes, int dim) {
    for (size_t i : positions_) {
      intervals_.push_back(
          {.begin = boxes[i].offsets[dim],
           .end = boxes[i].offsets[dim] + boxes[i].sizes[dim]});
    }
    ++ndim_;
  }

  const Interval& At(uint32_t id, size_t dim) const {
    return intervals_[dim * positions_.size() + id];
  }

  bool Overlap(uint32_t a, uint32_t b) const {
    for (size_t d = 0; d < ndim_; ++d) {
      if (At(a, d).begin >= At(b, d).end || At(b, d).begin >= At(a, d).end) {
        return false;
      }
    }
    return true;
  }

  std::optional<Pair> ComparePairs(std::span<const uint32_t> a,
                                   std::span<const uint32_t> b) const {
    for (uint32_t i : a) {
      for (uint32_t j : b) {
        if (i != j && Overlap(i, j)) return Pair(i, j);
      }
    }
    return std::nullopt;
  }

  void SortByBegin(Ids ids, size_t dim) const {
    const auto comes_before = [&](uint32_t a, uint32_t b) {
      return At(a, dim).begin < At(b, dim).begin;
    };
    if (!std::is_sorted(ids.begin(), ids.end(), comes_before)) {
      std::sort(ids.begin(), ids.end(), comes_before);
    }
  }

  std::optional<Pair> Cut(Ids ids, const CutState& state) {
    if (ids.size() * ids.size() <= kFewPairs) return ComparePairs(ids, ids);
    if (state.uncut == ndim_ || state.depth == kMaxCuts) {
      return Stream({ids.begin(), ids.end()}, {ids.begin(), ids.end()},
                    ndim_ - 1);
    }
    SortByBegin(ids, state.dim);
    CutState next{.dim = (state.dim + 1) % ndim_, .depth = state.depth + 1};
    for (size_t begin = 0, end = 0; begin < ids.size(); begin = end) {
      int64_t group_end = At(ids[begin], state.dim).end;
      for (end = begin + 1; end < ids.size(); ++end) {
        if (At(ids[end], state.dim).begin >= group_end) break;
        group_end = std::max(group_end, At(ids[end], state.dim).end);
      }
      next.uncut = end - begin == ids.size() ? state.uncut + 1 : 0;
      if (auto found = Cut(ids.subspan(begin, end - begin), next)) {
        return found;
      }
    }
    return std::nullopt;
  }

  /// Finds an overlap of one of `spans` and one of `points` where, in `dim`,
  /// the latter begins within the former; in higher dimensions they meet.
  std::optional<Pair> Stream(std::vector<uint32_t> spans,
                             std::vector<uint32_t> points, size_t dim) {
    if (spans.empty() || points.empty()) return std::nullopt;
    if (spans.size() * points.size() <= kFewPairs) {
      return ComparePairs(spans, points);
    }
    if (dim == 0) return Scan(&spans, &points);
    int64_t low = At(points[0], dim).begin;
    int64_t high = low;
    for (uint32_t id : points) {
      low = std::min(low, At(id, dim).begin);
      high = std::max(high, At(id, dim).begin);
    }
    std::erase_if(spans, [&](uint32_t id) {
      return At(id, dim).end <= low || At(id, dim).begin > high;
    });
    // Those that hold the begins of all points meet all of them.
    const auto partial =
        std::partition(spans.begin(), spans.end(), [&](uint32_t id) {
          return At(id, dim).begin <= low && At(id, dim).end > high;
        });
    const std::vector<uint32_t> covering(spans.begin(), partial);
    spans.erase(spans.begin(), partial);
    if (auto found = Stream(covering, points, dim - 1)) return found;
    if (auto found = Stream(points, covering, dim - 1)) return found;
    return StreamHalves(std::move(spans), std::move(points), dim);
  }

  /// `points` begin at several places if any of `spans` is left.
  std::optional<Pair> StreamHalves(std::vector<uint32_t> spans,
                                   std::vector<uint32_t> points, size_t dim) {
    if (spans.empty()) return std::nullopt;
    const auto by_begin = [&](uint32_t a, uint32_t b) {
      return At(a, dim).begin < At(b, dim).begin;
    };
    auto middle =
        points.begin() + static_cast<std::ptrdiff_t>(points.size() / 2);
    std::nth_element(points.begin(), middle, points.end(), by_begin);
    const int64_t median = At(*middle, dim).begin;
    middle = std::partition(points.begin(), points.end(), [&](uint32_t id) {
      return At(id, dim).begin < median;
    });
    if (middle == points.begin()) {
      middle = std::partition(points.begin(), points.end(), [&](uint32_t id) {
        return At(id, dim).begin == median;
      });
    }
    std::vector<uint32_t> right(middle, points.end());
    points.erase(middle, points.end());
    if (auto found = Stream(spans, std::move(points), dim)) return found;
    return Stream(std::move(spans), std::move(right), dim);
  }

  /// In the last dimension: the first pair that meets overlaps.
  std::optional<Pair> Scan(std::vector<uint32_t>* spans,
                           std::vector<uint32_t>* points) {
    SortByBegin(*spans, 0);
    SortByBegin(*points, 0);
    auto point = points->begin();
    for (uint32_t span : *spans) {
      while (point != points->end() &&
             At(*point, 0).begin < At(span, 0).begin) {
        ++point;
      }
      for (auto p = point; p != points->end(); ++p) {
        if (At(*p, 0).begin >= At(span, 0).end) break;
        if (*p != span) return Pair(span, *p);
      }
    }
    return std::nullopt;
  }

  std::vector<size_t> positions_;    // in the caller's boxes
  std::vector<Interval> intervals_;  // by dimension, then box
  size_t ndim_ = 0;
};

}  // namespace

std::optional<std::pair<size_t, size_t>> FindOverlap(
    std::span<const Box> boxes) {
  return Overlaps(boxes).Find();
}

}  // namespace dcp
