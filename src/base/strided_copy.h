// Moving tensor bytes on the host, between strided views and the images in
// which chunks are stored: the only place where that is done.
//
// Everything works on a range of an image's bytes, because images pass through
// buffers of fixed size. Functions are pure but for the memory that they fill;
// calls on disjoint ranges may run concurrently.

#ifndef DCP_BASE_STRIDED_COPY_H_
#define DCP_BASE_STRIDED_COPY_H_

#include <cstddef>
#include <cstdint>
#include <span>

#include "base/chunk_image.h"
#include "dcp/dims.h"
#include "dcp/dtype.h"
#include "dcp/tensor_view.h"

namespace dcp {

/// Fills `out` with bytes [byte_begin, byte_begin + out.size()) of the
/// row-major image of `source`, its `op` applied, cast to `image_dtype`.
///
/// `source` is in host memory; its strides may be 0 or negative. The range
/// lies within the image. With a cast (CanCast must allow it) it starts and
/// ends between elements.
void GatherRange(const TensorView& source, DType image_dtype,
                 int64_t byte_begin, std::span<std::byte> out);

/// Copies from `in`, bytes [byte_begin, byte_begin + in.size()) of `image`,
/// what lies in `part` (offsets relative to the chunk) to `dest`, which has the
/// shape of `part`, applies `op`, and casts.
///
/// `dest` is in host memory with strides that do not overlap. The range lies
/// within the image. Without a cast it may start and end within an element,
/// whose other bytes are left as they are; with one (CanCast must allow it) it
/// starts and ends between elements.
void ScatterRange(const ChunkImage& image, const Box& part,
                  const TensorView& dest, int64_t byte_begin,
                  std::span<const std::byte> in,
                  ElementOp op = ElementOp::kNone);

}  // namespace dcp

#endif  // DCP_BASE_STRIDED_COPY_H_
