#include "base/chunk_image.h"

#include <algorithm>

namespace dcp {
namespace {

/// How a part lies in an image: equal runs that start where the dimensions
/// before `run_dim` say.
struct RunShape {
  int run_dim = 0;        ///< runs cover the dimensions from here on
  int64_t run_numel = 0;  ///< elements of a run
  int64_t first = 0;      ///< element at which the first run starts
};

RunShape ShapeOf(const ChunkImage& image, const Box& part) {
  RunShape shape{.run_dim = part.ndim(), .run_numel = 1, .first = 0};
  bool inner_is_full = true;
  int64_t stride = 1;
  for (int d = part.ndim() - 1; d >= 0; --d) {
    if (inner_is_full) {
      shape.run_dim = d;
      shape.run_numel = part.sizes[d] * stride;
      inner_is_full = part.sizes[d] == image.sizes[d];
    }
    shape.first += part.offsets[d] * stride;
    stride *= image.sizes[d];
  }
  return shape;
}

}  // namespace

void ForEachRun(const ChunkImage& image, const Box& part,
                const std::function<void(ByteRun)>& visit) {
  if (part.numel() == 0) return;
  const RunShape shape = ShapeOf(image, part);
  const Dims strides = ContiguousStrides(image.sizes);
  const int64_t itemsize = ItemSize(image.dtype);
  Dims index = Dims::Filled(shape.run_dim, 0);
  int64_t element = shape.first;
  for (;;) {
    visit({.byte_begin = element * itemsize,
           .nbytes = shape.run_numel * itemsize});
    int d = shape.run_dim - 1;
    for (; d >= 0; --d) {
      element += strides[d];
      if (++index[d] < part.sizes[d]) break;
      element -= part.sizes[d] * strides[d];
      index[d] = 0;
    }
    if (d < 0) return;
  }
}

bool IsOneRun(const ChunkImage& image, const Box& part) {
  const RunShape shape = ShapeOf(image, part);
  for (int d = 0; d < shape.run_dim; ++d) {
    if (part.sizes[d] > 1) return part.numel() == 0;
  }
  return true;
}

std::optional<std::vector<int>> DenseOrder(const Dims& sizes,
                                           const Dims& strides) {
  std::vector<int> order(static_cast<size_t>(sizes.size()));
  std::vector<int> by_stride;
  for (int d = 0; d < sizes.size(); ++d) {
    order[static_cast<size_t>(d)] = d;
    if (sizes[d] != 1) by_stride.push_back(d);
  }
  if (Numel(sizes) == 0) return order;
  std::sort(by_stride.begin(), by_stride.end(),
            [&](int a, int b) { return strides[a] > strides[b]; });
  int64_t expected = 1;
  for (auto d = by_stride.rbegin(); d != by_stride.rend(); ++d) {
    if (strides[*d] != expected) return std::nullopt;
    expected *= sizes[*d];
  }
  // A dimension of size 1 lies anywhere: it stays where it is.
  auto next = by_stride.begin();
  for (int& d : order) {
    if (sizes[d] != 1) d = *next++;
  }
  return order;
}

Dims Permute(const Dims& dims, const std::vector<int>& order) {
  Dims permuted = dims;
  for (int d = 0; d < dims.size(); ++d) {
    permuted[d] = dims[order[static_cast<size_t>(d)]];
  }
  return permuted;
}

Box Permute(const Box& box, const std::vector<int>& order) {
  return {.offsets = Permute(box.offsets, order),
          .sizes = Permute(box.sizes, order)};
}

TensorView Permute(const TensorView& view, const std::vector<int>& order) {
  TensorView permuted = view;
  permuted.sizes = Permute(view.sizes, order);
  permuted.strides = Permute(view.strides, order);
  return permuted;
}

}  // namespace dcp
