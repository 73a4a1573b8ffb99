// StridedBlock: one N-dimensional copy between two strided memories.

#ifndef DCP_BASE_STRIDED_BLOCK_H_
#define DCP_BASE_STRIDED_BLOCK_H_

#include <cstddef>
#include <cstdint>
#include <functional>
#include <span>

#include "dcp/dims.h"

namespace dcp {

/// Element `i` lies at src + sum(i[d] * src_strides[d]) and goes to
/// dst + sum(i[d] * dst_strides[d]). Strides are in *bytes* and may be 0 or
/// negative.
struct StridedBlock {
  Dims sizes;
  const std::byte* src = nullptr;
  Dims src_strides;
  std::byte* dst = nullptr;
  Dims dst_strides;
};

/// Copies elements of `itemsize` 1, 2, 4, 8 or 16 bytes.
void CopyBlock(const StridedBlock& block, int itemsize);

struct BlockTransform {
  int src_itemsize = 0;
  int dst_itemsize = 0;
  /// Makes `count` elements of `to` from as many of `from`, both contiguous.
  std::function<void(const std::byte* from, std::byte* to, int64_t count)>
      apply;
};

/// Copies elements that `transform` changes on the way.
void TransformBlock(const StridedBlock& block, const BlockTransform& transform);

}  // namespace dcp

#endif  // DCP_BASE_STRIDED_BLOCK_H_
