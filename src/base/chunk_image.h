// ChunkImage: how the elements of a stored chunk lie in a run of bytes.

#ifndef DCP_BASE_CHUNK_IMAGE_H_
#define DCP_BASE_CHUNK_IMAGE_H_

#include <cstdint>
#include <functional>
#include <optional>
#include <vector>

#include "dcp/dims.h"
#include "dcp/dtype.h"
#include "dcp/tensor_view.h"

namespace dcp {

/// A chunk stored row-major without gaps.
struct ChunkImage {
  DType dtype = DType::kFloat32;
  Dims sizes;

  int64_t nbytes() const { return Numel(sizes) * ItemSize(dtype); }
};

/// Bytes [byte_begin, byte_begin + nbytes) of an image.
struct ByteRun {
  int64_t byte_begin = 0;
  int64_t nbytes = 0;
  bool operator==(const ByteRun&) const = default;
};

/// Calls `visit` with the bytes of `image` that hold `part` (offsets relative
/// to the chunk), in ascending order. No two runs touch. An empty part has
/// none.
void ForEachRun(const ChunkImage& image, const Box& part,
                const std::function<void(ByteRun)>& visit);

/// Whether `part` is one run, so that it can be read straight into a
/// contiguous destination. True for an empty part.
bool IsOneRun(const ChunkImage& image, const Box& part);

/// The order of dimensions, outermost first, in which a tensor's memory is
/// row-major without gaps: {1, 0} for a transposed matrix. nullopt if there is
/// none: the tensor overlaps itself, has gaps, or strides below 0. A tensor
/// that is row-major as it is keeps its order.
///
/// torch stores such tensors as they lie in memory, with their strides.
std::optional<std::vector<int>> DenseOrder(const Dims& sizes,
                                           const Dims& strides);

/// Dimension d of the result is dimension order[d] of the argument.
Dims Permute(const Dims& dims, const std::vector<int>& order);
Box Permute(const Box& box, const std::vector<int>& order);
TensorView Permute(const TensorView& view, const std::vector<int>& order);

}  // namespace dcp

#endif  // DCP_BASE_CHUNK_IMAGE_H_
