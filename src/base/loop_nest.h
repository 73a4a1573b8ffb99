// Nest: the loops that copy a StridedBlock.

#ifndef DCP_BASE_LOOP_NEST_H_
#define DCP_BASE_LOOP_NEST_H_

#include <algorithm>
#include <array>
#include <cstddef>
#include <cstdint>
#include <span>

#include "base/strided_block.h"
#include "dcp/dims.h"

namespace dcp {

/// `size` steps, each of so many bytes on either side.
struct Loop {
  int64_t size;
  int64_t src_stride;
  int64_t dst_stride;
};

/// Loops, outermost first, and where both sides start.
class Nest {
 public:
  Nest() = default;
  // Copies only the loops there are: nests are copied for every piece.
  Nest(const Nest& other)
      : src(other.src), dst(other.dst), depth_(other.depth_) {
    std::copy_n(other.loops_.begin(), depth_, loops_.begin());
  }
  Nest& operator=(const Nest&) = delete;
  ~Nest() = default;

  std::span<Loop> loops() { return {loops_.data(), depth_}; }
  std::span<const Loop> loops() const { return {loops_.data(), depth_}; }
  /// The innermost loop and the others; needs depth() > 0.
  const Loop& innermost() const { return loops_[depth_ - 1]; }
  std::span<Loop> outer() { return loops().first(depth_ - 1); }

  size_t depth() const { return depth_; }
  int64_t numel() const;
  void Push(const Loop& loop) { loops_[depth_++] = loop; }
  void Clear() { depth_ = 0; }

  const std::byte* src = nullptr;
  std::byte* dst = nullptr;

 private:
  std::array<Loop, Dims::kMaxDims> loops_;  // the first depth_ are set
  size_t depth_ = 0;
};

/// The loops of a block that is not empty, sorted by destination stride and
/// merged where both sides allow it; none for a single element.
Nest MakeNest(const StridedBlock& block);

/// Calls `visit(src, dst)` for every iteration of `loops`.
template <typename Visit>
void ForEachIteration(std::span<const Loop> loops, const std::byte* src,
                      std::byte* dst, const Visit& visit) {
  if (loops.empty()) {
    visit(src, dst);
    return;
  }
  const Loop& loop = loops.front();
  for (int64_t i = 0; i < loop.size; ++i) {
    if (loops.size() == 1) {
      visit(src, dst);
    } else {
      ForEachIteration(loops.subspan(1), src, dst, visit);
    }
    src += loop.src_stride;
    dst += loop.dst_stride;
  }
}

}  // namespace dcp

#endif  // DCP_BASE_LOOP_NEST_H_
