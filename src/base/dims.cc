#include "dcp/dims.h"

#include <algorithm>
#include <limits>
#include <utility>

namespace dcp {

Dims::Dims(std::initializer_list<int64_t> values)
    : Dims(std::span<const int64_t>(values.begin(), values.size())) {}

Dims::Dims(std::span<const int64_t> values) {
  if (values.size() > kInlineDims) values_.heap = new int64_t[values.size()];
  size_ = static_cast<int32_t>(values.size());
  std::copy(values.begin(), values.end(), data());
}

Dims Dims::Filled(int ndim, int64_t value) {
  Dims dims;
  for (int d = 0; d < ndim; ++d) dims.push_back(value);
  return dims;
}

Dims::Dims(const Dims& other) : Dims(other.span()) {}

Dims& Dims::operator=(const Dims& other) {
  if (this != &other) *this = Dims(other);
  return *this;
}

Dims::Dims(Dims&& other) noexcept
    : values_(other.values_), size_(std::exchange(other.size_, 0)) {}

Dims& Dims::operator=(Dims&& other) noexcept {
  if (this == &other) return *this;
  Free();
  values_ = other.values_;
  size_ = std::exchange(other.size_, 0);
  return *this;
}

void Dims::push_back(int64_t value) {
  if (size_ < kInlineDims) {
    values_.inlined[size_++] = value;
    return;
  }
  auto* const grown = new int64_t[static_cast<size_t>(size_) + 1];
  std::copy(begin(), end(), grown);
  grown[size_] = value;
  Free();
  values_.heap = grown;
  ++size_;
}

bool operator==(const Dims& a, const Dims& b) {
  return std::equal(a.begin(), a.end(), b.begin(), b.end());
}

bool operator<(const Dims& a, const Dims& b) {
  return std::lexicographical_compare(a.begin(), a.end(), b.begin(), b.end());
}

std::optional<int64_t> CheckedNumel(const Dims& sizes) {
  // A zero anywhere makes the product 0, but a negative size or an overflow
  // of the other factors is still an error of whoever made `sizes`.
  int64_t product = 1;
  bool has_zero = false;
  for (int64_t size : sizes) {
    if (size < 0) return std::nullopt;
    if (size == 0) {
      has_zero = true;
      continue;
    }
    if (__builtin_mul_overflow(product, size, &product)) return std::nullopt;
  }
  return has_zero ? 0 : product;
}

int64_t Numel(const Dims& sizes) {
  int64_t product = 1;
  for (int64_t size : sizes) product *= size;
  return product;
}

Dims ContiguousStrides(const Dims& sizes) {
  Dims strides = Dims::Filled(sizes.size(), 1);
  for (int d = sizes.size() - 2; d >= 0; --d) {
    strides[d] = strides[d + 1] * std::max<int64_t>(sizes[d + 1], 1);
  }
  return strides;
}

std::string ToString(const Dims& dims) {
  std::string text = "[";
  for (int d = 0; d < dims.size(); ++d) {
    if (d > 0) text += ", ";
    text += std::to_string(dims[d]);
  }
  return text + "]";
}

Box WholeBox(const Dims& sizes) {
  return {.offsets = Dims::Filled(sizes.size(), 0), .sizes = sizes};
}

std::optional<Box> Intersect(const Box& a, const Box& b) {
  Box common = a;
  for (int d = 0; d < a.ndim(); ++d) {
    const int64_t begin = std::max(a.offsets[d], b.offsets[d]);
    const int64_t end =
        std::min(a.offsets[d] + a.sizes[d], b.offsets[d] + b.sizes[d]);
    if (end <= begin) return std::nullopt;
    common.offsets[d] = begin;
    common.sizes[d] = end - begin;
  }
  return common;
}

bool InBounds(const Dims& outer_sizes, const Box& inner) {
  if (inner.offsets.size() != outer_sizes.size() ||
      inner.sizes.size() != outer_sizes.size()) {
    return false;
  }
  for (int d = 0; d < outer_sizes.size(); ++d) {
    if (inner.offsets[d] < 0 || inner.sizes[d] < 0) return false;
    if (inner.offsets[d] > outer_sizes[d] - inner.sizes[d]) return false;
  }
  return true;
}

std::string ToString(const Box& box) {
  return "[offsets=" + ToString(box.offsets) +
         ", sizes=" + ToString(box.sizes) + "]";
}

}  // namespace dcp
