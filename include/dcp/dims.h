// Dims and Box: shapes, offsets and regions of tensors, in elements.

#ifndef DCP_DIMS_H_
#define DCP_DIMS_H_

#include <cstdint>
#include <initializer_list>
#include <optional>
#include <span>
#include <string>

namespace dcp {

/// One int64 per tensor dimension: a shape, offsets or strides, in elements.
///
/// Regular value type of 32 bytes: up to kInlineDims values are stored inline,
/// because a checkpoint's plan holds millions of them. Not thread-safe for
/// writes.
class Dims {
 public:
  static constexpr int kInlineDims = 3;
  /// torch's limit (c10 kMaxDims).
  static constexpr int kMaxDims = 64;

  Dims() = default;
  Dims(std::initializer_list<int64_t> values);
  explicit Dims(std::span<const int64_t> values);
  /// `ndim` copies of `value`.
  static Dims Filled(int ndim, int64_t value);

  Dims(const Dims& other);
  Dims& operator=(const Dims& other);
  Dims(Dims&& other) noexcept;
  Dims& operator=(Dims&& other) noexcept;
  ~Dims() { Free(); }

  int size() const { return size_; }
  bool empty() const { return size_ == 0; }
  int64_t* data() { return is_inline() ? values_.inlined : values_.heap; }
  const int64_t* data() const {
    return is_inline() ? values_.inlined : values_.heap;
  }
  int64_t& operator[](int dim) { return data()[dim]; }
  int64_t operator[](int dim) const { return data()[dim]; }
  int64_t* begin() { return data(); }
  int64_t* end() { return data() + size_; }
  const int64_t* begin() const { return data(); }
  const int64_t* end() const { return data() + size_; }
  std::span<const int64_t> span() const {
    return {data(), static_cast<size_t>(size_)};
  }

  void push_back(int64_t value);

  friend bool operator==(const Dims& a, const Dims& b);
  /// Lexicographic; a prefix is smaller.
  friend bool operator<(const Dims& a, const Dims& b);

 private:
  union Values {
    int64_t inlined[kInlineDims];
    int64_t* heap;  // owned; of exactly size_ values, more than kInlineDims
  };

  bool is_inline() const { return size_ <= kInlineDims; }
  void Free() {
    if (!is_inline()) delete[] values_.heap;
  }

  Values values_ = {.inlined = {}};
  int32_t size_ = 0;
};

/// Product of `sizes` (1 for 0-d), or nullopt if a size is negative or the
/// product does not fit int64.
std::optional<int64_t> CheckedNumel(const Dims& sizes);

/// Product of `sizes`; the caller has proven that it fits.
int64_t Numel(const Dims& sizes);

/// Row-major strides of a contiguous tensor, as torch computes them (a size of
/// 0 counts as 1).
Dims ContiguousStrides(const Dims& sizes);

/// "[2, 3]"
std::string ToString(const Dims& dims);

/// A rectangular region of a tensor: `offsets[d] <= i < offsets[d]+sizes[d]`.
/// torch's ChunkStorageMetadata.
struct Box {
  Dims offsets;
  Dims sizes;

  int ndim() const { return sizes.size(); }
  int64_t numel() const { return Numel(sizes); }
  bool operator==(const Box&) const = default;
};

/// The box of a whole tensor.
Box WholeBox(const Dims& sizes);

/// The common region of two boxes of equal ndim, nullopt if it is empty. Two
/// 0-d boxes intersect in the 0-d box.
std::optional<Box> Intersect(const Box& a, const Box& b);

/// Whether `inner` lies within a tensor of shape `outer_sizes`.
bool InBounds(const Dims& outer_sizes, const Box& inner);

/// "[offsets=[0, 0], sizes=[2, 3]]"
std::string ToString(const Box& box);

}  // namespace dcp

#endif  // DCP_DIMS_H_
