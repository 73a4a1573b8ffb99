// Ranges of an image's bytes, as elements and as boxes.

#ifndef DCP_BASE_ELEMENT_RANGE_H_
#define DCP_BASE_ELEMENT_RANGE_H_

#include <cstddef>
#include <cstdint>

#include "dcp/dims.h"

namespace dcp {

/// Elements [begin, end) in row-major order.
struct ElementRange {
  int64_t begin = 0;
  int64_t end = 0;
};

/// Visits elements [begin, end) of a row-major tensor as boxes, in
/// ascending order: at most two for each dimension.
template <typename Visit>
class RangeBoxes {
 public:
  RangeBoxes(const Dims& sizes, const Visit& visit)
      : sizes_(sizes),
        strides_(ContiguousStrides(sizes)),
        visit_(visit),
        box_{.offsets = Dims::Filled(sizes.size(), 0),
             .sizes = Dims::Filled(sizes.size(), 1)} {}

  void Run(ElementRange range) {
    if (range.begin < range.end) Split(0, range);
  }

 private:
  /// `range` counts within the sub-tensor that box_ has chosen before `dim`.
  void Split(int dim, ElementRange range) {
    if (dim == sizes_.size()) {
      visit_(box_);
      return;
    }
    const int64_t inner = strides_[dim];
    int64_t first = range.begin / inner;
    const int64_t last = range.end / inner;
    const int64_t head = range.begin % inner;
    const int64_t tail = range.end % inner;
    if (first == last) return Slice(dim, first, {head, tail});
    if (head > 0) Slice(dim, first++, {head, inner});
    if (first < last) Whole(dim, first, last);
    if (tail > 0) Slice(dim, last, {0, tail});
  }

  void Slice(int dim, int64_t index, ElementRange range) {
    box_.offsets[dim] = index;
    box_.sizes[dim] = 1;
    Split(dim + 1, range);
  }

  void Whole(int dim, int64_t first, int64_t last) {
    box_.offsets[dim] = first;
    box_.sizes[dim] = last - first;
    for (int d = dim + 1; d < sizes_.size(); ++d) {
      box_.offsets[d] = 0;
      box_.sizes[d] = sizes_[d];
    }
    visit_(box_);
  }

  const Dims& sizes_;
  const Dims strides_;
  const Visit& visit_;
  Box box_;
};

/// A range of bytes as what it holds of its first and last element, which may
/// be the same, and the whole elements between.
struct SplitRange {
  struct Part {
    int64_t element = 0;
    int64_t begin = 0;  ///< bytes [begin, end) of the element
    int64_t end = 0;
  };
  Part head;
  ElementRange whole;
  Part tail;
};

/// Splits bytes [byte_begin, byte_begin + nbytes) of an image.
inline SplitRange SplitBytes(int64_t byte_begin, size_t nbytes, int itemsize) {
  const int64_t byte_end = byte_begin + static_cast<int64_t>(nbytes);
  SplitRange split;
  split.whole = {.begin = (byte_begin + itemsize - 1) / itemsize,
                 .end = byte_end / itemsize};
  split.head = {.element = byte_begin / itemsize,
                .begin = byte_begin % itemsize,
                .end = itemsize};
  split.tail = {.element = split.whole.end, .end = byte_end % itemsize};
  if (split.head.begin == 0) split.head.end = 0;
  if (split.whole.begin > split.whole.end) {  // all within one element
    split.head.end = split.tail.end;
    split.tail.end = 0;
    split.whole.begin = split.whole.end;
  }
  return split;
}

/// Position of a row-major tensor's `element`, none of whose sizes is 0.
inline Dims IndexOf(int64_t element, const Dims& sizes) {
  Dims index = sizes;
  for (int d = sizes.size() - 1; d >= 0; --d) {
    index[d] = element % sizes[d];
    element /= sizes[d];
  }
  return index;
}

}  // namespace dcp

#endif  // DCP_BASE_ELEMENT_RANGE_H_
