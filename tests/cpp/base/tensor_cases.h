// Random tensors for property tests, and the slow, plain way to walk them.

#ifndef DCP_TESTS_BASE_TENSOR_CASES_H_
#define DCP_TESTS_BASE_TENSOR_CASES_H_

#include <algorithm>
#include <cstddef>
#include <cstdint>
#include <initializer_list>
#include <random>
#include <vector>

#include "dcp/dims.h"
#include "dcp/dtype.h"
#include "dcp/tensor_view.h"

namespace dcp {

/// Position of a row-major tensor's `element`.
inline Dims IndexOfElement(int64_t element, const Dims& sizes) {
  Dims index = sizes;
  for (int d = sizes.size() - 1; d >= 0; --d) {
    index[d] = element % sizes[d];
    element /= sizes[d];
  }
  return index;
}

inline bool Contains(const Box& box, const Dims& index) {
  for (int d = 0; d < index.size(); ++d) {
    if (index[d] < box.offsets[d]) return false;
    if (index[d] >= box.offsets[d] + box.sizes[d]) return false;
  }
  return true;
}

/// A view and the memory that it lies in.
struct OwnedTensor {
  std::vector<std::byte> memory;
  TensorView view;

  std::byte* ElementAt(const Dims& index) const {
    int64_t offset = 0;
    for (int d = 0; d < index.size(); ++d) offset += index[d] * view.strides[d];
    return static_cast<std::byte*>(view.data) + offset * ItemSize(view.dtype);
  }
};

struct Random {
  explicit Random(uint64_t seed) : engine(seed) {}

  /// In [low, high].
  int64_t Between(int64_t low, int64_t high) {
    return std::uniform_int_distribution<int64_t>(low, high)(engine);
  }
  bool OneIn(int64_t n) { return Between(1, n) == 1; }
  template <typename T>
  T Pick(std::initializer_list<T> choices) {
    return choices
        .begin()[Between(0, static_cast<int64_t>(choices.size()) - 1)];
  }

  /// Up to `max_ndim` sizes of 1 ... max_size, rarely 0.
  Dims Sizes(int max_ndim, int64_t max_size) {
    Dims sizes;
    for (int64_t d = Between(0, max_ndim); d > 0; --d) {
      sizes.push_back(OneIn(40) ? 0 : Between(1, max_size));
    }
    return sizes;
  }

  /// A part of a tensor of shape `sizes`; often all of a dimension.
  Box PartOf(const Dims& sizes) {
    Box part{.offsets = sizes, .sizes = sizes};
    for (int d = 0; d < sizes.size(); ++d) {
      const bool all = OneIn(2);
      part.offsets[d] = all ? 0 : Between(0, sizes[d]);
      part.sizes[d] = all ? sizes[d] : Between(0, sizes[d] - part.offsets[d]);
    }
    return part;
  }

  enum class Overlap { kForbidden, kAllowed };

  /// A tensor of random bytes with dimensions in any order in memory, with
  /// gaps, reversed and (if `overlap` allows it) expanded ones.
  OwnedTensor Strided(DType dtype, const Dims& sizes, Overlap overlap) {
    std::vector<int> order(static_cast<size_t>(sizes.size()));
    for (size_t d = 0; d < order.size(); ++d) order[d] = static_cast<int>(d);
    if (OneIn(2)) std::shuffle(order.begin(), order.end(), engine);
    OwnedTensor tensor;
    Dims strides = sizes;
    int64_t numel = 1;
    int64_t first = 0;
    for (auto d = order.rbegin(); d != order.rend(); ++d) {
      const int64_t size = std::max<int64_t>(sizes[*d], 1);
      strides[*d] = numel;
      if (overlap == Overlap::kAllowed && OneIn(8)) {
        strides[*d] = 0;
        continue;
      }
      numel *= size + (size > 1 && OneIn(3) ? Between(0, 2) : 0);
      if (OneIn(6)) {
        first += (size - 1) * strides[*d];
        strides[*d] = -strides[*d];
      }
    }
    const int64_t itemsize = ItemSize(dtype);
    tensor.memory.resize(static_cast<size_t>(numel * itemsize));
    for (std::byte& b : tensor.memory) b = std::byte(Between(0, 255));
    tensor.view = {.data = tensor.memory.data() + first * itemsize,
                   .dtype = dtype,
                   .sizes = sizes,
                   .strides = strides};
    return tensor;
  }

  std::mt19937_64 engine;
};

}  // namespace dcp

#endif  // DCP_TESTS_BASE_TENSOR_CASES_H_
