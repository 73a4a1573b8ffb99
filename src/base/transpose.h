// TransposeSquare: a small matrix transposed in vector registers.

#ifndef DCP_BASE_TRANSPOSE_H_
#define DCP_BASE_TRANSPOSE_H_

#include <array>
#include <cstddef>
#include <cstdint>
#include <cstring>
#include <utility>

namespace dcp {

/// 16 bytes of `T` (a GCC and clang vector: SSE2, NEON, ...).
template <typename T>
struct VectorOf {
  static constexpr size_t kLanes = 16 / sizeof(T);
  using Type __attribute__((vector_size(16))) = T;
};

/// Elements per side of what TransposeSquare<T> transposes.
template <typename T>
inline constexpr int64_t kSquare = static_cast<int64_t>(VectorOf<T>::kLanes);

/// The elements of `a` and `b` in turn: the first half of each in lanes of
/// `low`, the second in those of `high`.
template <typename T, size_t... lane>
void Interleave(typename VectorOf<T>::Type a, typename VectorOf<T>::Type b,
                typename VectorOf<T>::Type* low,
                typename VectorOf<T>::Type* high,
                std::index_sequence<lane...>) {
  constexpr size_t kLanes = VectorOf<T>::kLanes;
  *low = __builtin_shufflevector(
      a, b, static_cast<int>(lane / 2 + lane % 2 * kLanes)...);
  *high = __builtin_shufflevector(
      a, b, static_cast<int>(kLanes / 2 + lane / 2 + lane % 2 * kLanes)...);
}

/// dst[i][j] = src[j][i]; rows are contiguous and so many bytes apart.
template <typename T>
void TransposeSquare(const std::byte* src, int64_t src_stride, std::byte* dst,
                     int64_t dst_stride) {
  constexpr size_t kRows = VectorOf<T>::kLanes;
  using Rows = std::array<typename VectorOf<T>::Type, kRows>;
  Rows rows;
  for (auto& row : rows) {
    std::memcpy(&row, src, sizeof(row));
    src += src_stride;
  }
  // Interleaving the two halves of the rows rotates the bits of every
  // element's position (row, column) by one; log2(kRows) times swaps them.
  for (size_t step = 1; step < kRows; step *= 2) {
    Rows next;
    for (size_t i = 0; i < kRows / 2; ++i) {
      Interleave<T>(rows[i], rows[i + kRows / 2], &next[2 * i],
                    &next[2 * i + 1], std::make_index_sequence<kRows>());
    }
    rows = next;
  }
  for (const auto& row : rows) {
    std::memcpy(dst, &row, sizeof(row));
    dst += dst_stride;
  }
}

}  // namespace dcp

#endif  // DCP_BASE_TRANSPOSE_H_
