#include "checkpoint/tensor_pieces.h"

#include <algorithm>

namespace dcp {
namespace {

/// Moves the first `count` indices of `offsets` to the next in row-major order;
/// false after the last.
bool Advance(Dims& offsets, const Dims& sizes, int count) {
  for (int d = count - 1; d >= 0; --d) {
    if (++offsets[d] < sizes[d]) return true;
    offsets[d] = 0;
  }
  return false;
}

}  // namespace

std::vector<Box> CutIntoPieces(const Dims& sizes, int64_t itemsize,
                               int64_t max_nbytes) {
  const int64_t numel = Numel(sizes);
  if (sizes.empty() || numel * itemsize <= max_nbytes) {
    return {WholeBox(sizes)};
  }
  // The outermost dimension of which one index fits.
  int cut = 0;
  int64_t index_nbytes = numel / sizes[0] * itemsize;
  while (cut + 1 < sizes.size() && index_nbytes > max_nbytes) {
    ++cut;
    index_nbytes /= sizes[cut];
  }
  const int64_t step = std::max(int64_t{1}, max_nbytes / index_nbytes);
  std::vector<Box> pieces;
  Box piece = WholeBox(sizes);
  for (int d = 0; d < cut; ++d) piece.sizes[d] = 1;
  do {
    for (int64_t begin = 0; begin < sizes[cut]; begin += step) {
      piece.offsets[cut] = begin;
      piece.sizes[cut] = std::min(step, sizes[cut] - begin);
      pieces.push_back(piece);
    }
    piece.offsets[cut] = 0;
  } while (Advance(piece.offsets, sizes, cut));
  return pieces;
}

}  // namespace dcp
