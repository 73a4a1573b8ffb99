#include "base/loop_nest.h"

namespace dcp {
namespace {

Loop TurnedRound(const Loop& loop) {
  return {.size = loop.size,
          .src_stride = -loop.src_stride,
          .dst_stride = -loop.dst_stride};
}

/// `outer` and `inner` as one loop, if both sides allow it.
bool Merge(const Loop& inner, Loop* outer) {
  if (outer->src_stride != inner.size * inner.src_stride ||
      outer->dst_stride != inner.size * inner.dst_stride) {
    return false;
  }
  *outer = {.size = outer->size * inner.size,
            .src_stride = inner.src_stride,
            .dst_stride = inner.dst_stride};
  return true;
}

}  // namespace

int64_t Nest::numel() const {
  int64_t numel = 1;
  for (const Loop& loop : loops()) numel *= loop.size;
  return numel;
}

Nest MakeNest(const StridedBlock& block) {
  Nest sorted;
  const std::byte* src = block.src;
  std::byte* dst = block.dst;
  for (int d = 0; d < block.sizes.size(); ++d) {
    Loop loop{.size = block.sizes[d],
              .src_stride = block.src_strides[d],
              .dst_stride = block.dst_strides[d]};
    if (loop.size == 1) continue;
    if (loop.dst_stride < 0) {
      src += (loop.size - 1) * loop.src_stride;
      dst += (loop.size - 1) * loop.dst_stride;
      loop = TurnedRound(loop);
    }
    sorted.Push(loop);
  }
  std::sort(
      sorted.loops().begin(), sorted.loops().end(),
      [](const Loop& a, const Loop& b) { return a.dst_stride > b.dst_stride; });
  Nest nest;
  nest.src = src;
  nest.dst = dst;
  for (const Loop& loop : sorted.loops()) {
    if (nest.depth() == 0 || !Merge(loop, &nest.loops().back())) {
      nest.Push(loop);
    }
  }
  return nest;
}

}  // namespace dcp
