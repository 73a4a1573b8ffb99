// How a block is copied:
// 1. Dimensions become loops: those of size 1 go, those that run backwards in
//    the destination are turned round, and they are sorted so that writes are
//    in order of address; neighbours that both sides traverse as one merge.
// 2. If the innermost loop is contiguous on both sides, it is a memcpy.
// 3. If instead some other loop walks the source in smaller steps (a transposed
//    matrix), the two are cut into tiles of one cache line squared, so that
//    every line of either side is fetched once, and within them small squares
//    are transposed in registers. Else elements go one by one.

#include "base/strided_block.h"

#include <algorithm>
#include <array>
#include <cstdlib>
#include <cstring>
#include <type_traits>

#include "base/loop_nest.h"
#include "base/transpose.h"

namespace dcp {
namespace {

bool IsEmpty(const StridedBlock& block) {
  return std::find(block.sizes.begin(), block.sizes.end(), 0) !=
         block.sizes.end();
}

template <int itemsize>
void CopyElements(const Loop& loop, const std::byte* src, std::byte* dst) {
  for (int64_t i = 0; i < loop.size; ++i) {
    std::memcpy(dst, src, itemsize);
    src += loop.src_stride;
    dst += loop.dst_stride;
  }
}

/// The integer that TransposeSquare takes for an element.
template <int itemsize>
using Lane = std::conditional_t<
    itemsize == 1, uint8_t,
    std::conditional_t<itemsize == 2, uint16_t,
                       std::conditional_t<itemsize == 4, uint32_t, uint64_t>>>;

/// `row` has the smaller steps in the source, `column` in the destination.
template <int itemsize>
void CopyTile(const Loop& row, const Loop& column, const std::byte* src,
              std::byte* dst) {
  int64_t first_row =
      0;  // rows before it are complete but for the last columns
  int64_t first_column = 0;
  if constexpr (itemsize < 16) {
    constexpr int64_t kSide = kSquare<Lane<itemsize>>;
    if (row.src_stride == itemsize && column.dst_stride == itemsize) {
      first_row = row.size / kSide * kSide;
      first_column = column.size / kSide * kSide;
    }
    for (int64_t i = 0; i < first_row; i += kSide) {
      for (int64_t j = 0; j < first_column; j += kSide) {
        TransposeSquare<Lane<itemsize>>(
            src + i * itemsize + j * column.src_stride, column.src_stride,
            dst + i * row.dst_stride + j * itemsize, row.dst_stride);
      }
    }
  }
  for (int64_t i = 0; i < row.size; ++i) {
    const int64_t done = i < first_row ? first_column : 0;
    CopyElements<itemsize>({.size = column.size - done,
                            .src_stride = column.src_stride,
                            .dst_stride = column.dst_stride},
                           src + i * row.src_stride + done * column.src_stride,
                           dst + i * row.dst_stride + done * column.dst_stride);
  }
}

/// Calls `visit(begin, size)` for pieces of [0, size).
template <typename Visit>
void ForEachPiece(int64_t size, int64_t piece, const Visit& visit) {
  for (int64_t begin = 0; begin < size; begin += piece) {
    visit(begin, std::min(piece, size - begin));
  }
}

template <int itemsize>
void CopyTransposed(Loop row, Loop column, const std::byte* src,
                    std::byte* dst) {
  constexpr int64_t kTile = 64 / itemsize;  // a cache line
  constexpr int64_t kBlock = 256;           // within reach of the TLB
  const Loop all_rows = row;
  const Loop all_columns = column;
  const auto copy_tile = [&](int64_t i, int64_t j) {
    CopyTile<itemsize>(row, column,
                       src + i * row.src_stride + j * column.src_stride,
                       dst + i * row.dst_stride + j * column.dst_stride);
  };
  ForEachPiece(all_rows.size, kBlock, [&](int64_t row_block, int64_t rows) {
    ForEachPiece(all_columns.size, kBlock, [&](int64_t block, int64_t columns) {
      ForEachPiece(columns, kTile, [&](int64_t j, int64_t tile_columns) {
        ForEachPiece(rows, kTile, [&](int64_t i, int64_t tile_rows) {
          row.size = tile_rows;
          column.size = tile_columns;
          copy_tile(row_block + i, block + j);
        });
      });
    });
  });
}

/// Position of the loop that walks the source in the smallest steps.
size_t SourceLoop(std::span<const Loop> loops) {
  size_t best = loops.size() - 1;
  for (size_t i = 0; i < loops.size(); ++i) {
    const auto step = [&](size_t l) { return std::abs(loops[l].src_stride); };
    if (step(i) < step(best)) best = i;
  }
  return best;
}

template <int itemsize>
void CopyNest(Nest nest) {
  if (nest.depth() == 0) {
    std::memcpy(nest.dst, nest.src, itemsize);
    return;
  }
  const Loop inner = nest.innermost();
  const std::span<Loop> outer = nest.outer();
  if (inner.src_stride == itemsize && inner.dst_stride == itemsize) {
    const auto nbytes = static_cast<size_t>(inner.size * itemsize);
    ForEachIteration(outer, nest.src, nest.dst,
                     [&](const std::byte* src, std::byte* dst) {
                       std::memcpy(dst, src, nbytes);
                     });
    return;
  }
  const size_t best = SourceLoop(nest.loops());
  if (best == outer.size()) {
    ForEachIteration(outer, nest.src, nest.dst,
                     [&](const std::byte* src, std::byte* dst) {
                       CopyElements<itemsize>(inner, src, dst);
                     });
    return;
  }
  std::rotate(outer.begin() + static_cast<std::ptrdiff_t>(best),
              outer.begin() + static_cast<std::ptrdiff_t>(best) + 1,
              outer.end());
  const Loop row = outer.back();
  ForEachIteration(outer.first(outer.size() - 1), nest.src, nest.dst,
                   [&](const std::byte* src, std::byte* dst) {
                     CopyTransposed<itemsize>(row, inner, src, dst);
                   });
}

void CopyNestOf(const Nest& nest, int itemsize) {
  switch (itemsize) {
    case 1:
      return CopyNest<1>(nest);
    case 2:
      return CopyNest<2>(nest);
    case 4:
      return CopyNest<4>(nest);
    case 8:
      return CopyNest<8>(nest);
    default:
      return CopyNest<16>(nest);
  }
}

// Elements that TransformBlock packs at a time: two buffers of at most 16 KiB
// stay in the first-level cache.
constexpr int64_t kPackedNumel = 1024;
constexpr size_t kBufferNbytes = kPackedNumel * 16;
// Contiguous rows of at least so many elements need no packing.
constexpr int64_t kRowNumel = 64;

/// `nest` with the side given by `stride` replaced by contiguous memory.
Nest Packed(Nest nest, int64_t Loop::*stride, int64_t itemsize) {
  for (auto loop = nest.loops().rbegin(); loop != nest.loops().rend(); ++loop) {
    (*loop).*stride = itemsize;
    itemsize *= loop->size;
  }
  return nest;
}

void TransformPacked(const Nest& nest, const BlockTransform& transform,
                     int64_t numel) {
  alignas(64) std::array<std::byte, kBufferNbytes> from;
  alignas(64) std::array<std::byte, kBufferNbytes> to;
  Nest pack = Packed(nest, &Loop::dst_stride, transform.src_itemsize);
  pack.dst = from.data();
  CopyNestOf(pack, transform.src_itemsize);
  transform.apply(from.data(), to.data(), numel);
  Nest unpack = Packed(nest, &Loop::src_stride, transform.dst_itemsize);
  unpack.src = to.data();
  CopyNestOf(unpack, transform.dst_itemsize);
}

void TransformNest(Nest nest, const BlockTransform& transform) {
  const int64_t numel = nest.numel();
  if (numel <= kPackedNumel) return TransformPacked(nest, transform, numel);
  // Halving the longest loop makes the pieces about square, which is what a
  // transposed matrix needs.
  std::span<Loop> loops = nest.loops();
  const auto longest = std::max_element(
      loops.begin(), loops.end(),
      [](const Loop& a, const Loop& b) { return a.size < b.size; });
  const int64_t half = longest->size / 2;
  const int64_t rest = longest->size - half;
  longest->size = half;
  TransformNest(nest, transform);
  nest.src += half * longest->src_stride;
  nest.dst += half * longest->dst_stride;
  longest->size = rest;
  TransformNest(nest, transform);
}

bool HasLongRows(const Loop& inner, const BlockTransform& transform) {
  return inner.src_stride == transform.src_itemsize &&
         inner.dst_stride == transform.dst_itemsize && inner.size >= kRowNumel;
}

}  // namespace

void CopyBlock(const StridedBlock& block, int itemsize) {
  if (!IsEmpty(block)) CopyNestOf(MakeNest(block), itemsize);
}

void TransformBlock(const StridedBlock& block,
                    const BlockTransform& transform) {
  if (IsEmpty(block)) return;
  Nest nest = MakeNest(block);
  if (nest.depth() == 0 || !HasLongRows(nest.innermost(), transform)) {
    return TransformNest(nest, transform);
  }
  const int64_t row_numel = nest.innermost().size;
  ForEachIteration(nest.outer(), nest.src, nest.dst,
                   [&](const std::byte* src, std::byte* dst) {
                     transform.apply(src, dst, row_numel);
                   });
}

}  // namespace dcp
