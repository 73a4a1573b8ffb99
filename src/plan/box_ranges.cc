#include "plan/box_ranges.h"

#include <algorithm>
#include <array>

namespace dcp {
namespace {

/// Elements of one step of each dimension of a row-major tensor: [d + 1] is
/// the stride of dimension d.
using Strides = std::array<int64_t, Dims::kMaxDims + 1>;

Strides StridesOf(const Dims& sizes) {
  Strides strides;
  strides[static_cast<size_t>(sizes.size())] = 1;
  for (int d = sizes.size(); d-- > 0;) {
    const auto at = static_cast<size_t>(d);
    strides[at] = strides[at + 1] * sizes[d];
  }
  return strides;
}

/// The outermost dimension of which the box's rows are runs of the tensor.
int FirstDimOfRun(const Dims& sizes, const Box& box) {
  int dim = sizes.size();
  while (dim > 0) {
    --dim;
    if (box.sizes[dim] != sizes[dim]) break;
  }
  return dim;
}

}  // namespace

int64_t CountBefore(const Dims& sizes, const Box& box, int64_t position) {
  int64_t stride = Numel(sizes);
  int64_t rows = Numel(box.sizes);
  if (stride == 0 || rows == 0) return 0;
  if (sizes.empty()) return position;
  int64_t count = 0;
  for (int d = 0; d < sizes.size(); ++d) {
    stride /= sizes[d];
    rows /= box.sizes[d];
    const int64_t index = position / stride;
    position %= stride;
    const int64_t inside = index - box.offsets[d];
    count += std::clamp(inside, int64_t{0}, box.sizes[d]) * rows;
    if (inside < 0 || inside >= box.sizes[d]) break;
  }
  return count;
}

void ForEachRunOf(const Dims& sizes, const Box& box, int64_t begin, int64_t end,
                  const std::function<void(const BoxRun&)>& visit) {
  if (begin >= end) return;
  if (sizes.empty()) return visit({.position = 0, .in_box = 0, .count = 1});
  const Strides strides = StridesOf(sizes);
  const int dim = FirstDimOfRun(sizes, box);
  const int64_t run = StridesOf(box.sizes)[static_cast<size_t>(dim)];
  while (begin < end) {
    int64_t row = begin / run;
    int64_t position = box.offsets[dim] * strides[static_cast<size_t>(dim) + 1];
    for (int d = dim; d-- > 0;) {
      position += (box.offsets[d] + row % box.sizes[d]) *
                  strides[static_cast<size_t>(d) + 1];
      row /= box.sizes[d];
    }
    const int64_t in_run = begin % run;
    const int64_t count = std::min(end - begin, run - in_run);
    visit({.position = position + in_run, .in_box = begin, .count = count});
    begin += count;
  }
}

}  // namespace dcp
