#include "base/strided_copy.h"

#include <algorithm>
#include <array>
#include <cstring>
#include <optional>

#include "base/cast.h"
#include "base/element_range.h"
#include "base/strided_block.h"

namespace dcp {
namespace {

int64_t Dot(const Dims& index, const Dims& strides) {
  int64_t sum = 0;
  for (int d = 0; d < index.size(); ++d) sum += index[d] * strides[d];
  return sum;
}

Dims InBytes(Dims strides, int itemsize) {
  for (int64_t& stride : strides) stride *= itemsize;
  return strides;
}

/// Bytes of the sign-carrying parts that `op` flips: at `first`, and every
/// `step` bytes from there.
struct SignBytes {
  int64_t first = 0;
  int64_t step = 0;
};

SignBytes SignBytesOf(ElementOp op, DType dtype) {
  const int64_t itemsize = ItemSize(dtype);
  const bool is_complex = GetDTypeInfo(dtype).kind == DTypeKind::kComplex;
  if (op == ElementOp::kConj || !is_complex) {
    return {.first = itemsize - 1, .step = itemsize};
  }
  return {.first = itemsize / 2 - 1, .step = itemsize / 2};
}

/// Applies `op` to bytes that start `phase` bytes into an element.
void FlipSigns(ElementOp op, DType dtype, int64_t phase,
               std::span<std::byte> data) {
  if (op == ElementOp::kNone) return;
  const SignBytes signs = SignBytesOf(op, dtype);
  int64_t at = signs.first - phase;
  while (at < 0) at += signs.step;
  for (; at < static_cast<int64_t>(data.size()); at += signs.step) {
    data[static_cast<size_t>(at)] ^= std::byte{0x80};
  }
}

BlockTransform MakeTransform(DType from, DType to, ElementOp op) {
  const auto cast = [from, to](const std::byte* src, std::byte* dst,
                               int64_t count) {
    CastElements(from, src, to, dst, count);
  };
  BlockTransform transform{.src_itemsize = ItemSize(from),
                           .dst_itemsize = ItemSize(to),
                           .apply = cast};
  if (op == ElementOp::kNone) return transform;
  transform.apply = [=](const std::byte* src, std::byte* dst, int64_t count) {
    std::array<std::byte, 4096> block;
    const int64_t most = static_cast<int64_t>(block.size()) / ItemSize(from);
    for (int64_t done = 0; done < count; done += most) {
      const int64_t n = std::min(most, count - done);
      const auto nbytes = static_cast<size_t>(n * ItemSize(from));
      std::memcpy(block.data(), src + done * ItemSize(from), nbytes);
      FlipSigns(op, from, 0, {block.data(), nbytes});
      cast(block.data(), dst + done * ItemSize(to), n);
    }
  };
  return transform;
}

/// Copies blocks of elements of two types.
class BlockCopier {
 public:
  BlockCopier(DType from, DType to, ElementOp op)
      : itemsize_(from == to && op == ElementOp::kNone ? ItemSize(from) : 0) {
    if (itemsize_ == 0) transform_ = MakeTransform(from, to, op);
  }

  void Copy(const StridedBlock& block) const {
    if (itemsize_ != 0) {
      CopyBlock(block, itemsize_);
    } else {
      TransformBlock(block, transform_);
    }
  }

 private:
  int itemsize_;  // 0: the elements change
  BlockTransform transform_;
};

const std::byte* BytesOf(const TensorView& view) {
  return static_cast<const std::byte*>(view.data);
}

/// Copies a part of one element of `source` to `out`.
void GatherPart(const TensorView& source, const SplitRange::Part& part,
                std::byte* out) {
  if (part.begin >= part.end) return;
  const int64_t at = Dot(IndexOf(part.element, source.sizes), source.strides) *
                         ItemSize(source.dtype) +
                     part.begin;
  const auto nbytes = static_cast<size_t>(part.end - part.begin);
  std::memcpy(out, BytesOf(source) + at, nbytes);
  FlipSigns(source.op, source.dtype, part.begin, {out, nbytes});
}

/// Copies a part of one element of the image from `in` to `dest`.
void ScatterPart(const ChunkImage& image, const Box& part,
                 const TensorView& dest, ElementOp op,
                 const SplitRange::Part& bytes, const std::byte* in) {
  if (bytes.begin >= bytes.end) return;
  Dims index = IndexOf(bytes.element, image.sizes);
  for (int d = 0; d < index.size(); ++d) {
    index[d] -= part.offsets[d];
    if (index[d] < 0 || index[d] >= part.sizes[d]) return;
  }
  auto* to = static_cast<std::byte*>(dest.data) +
             Dot(index, dest.strides) * ItemSize(dest.dtype) + bytes.begin;
  const auto nbytes = static_cast<size_t>(bytes.end - bytes.begin);
  std::memcpy(to, in, nbytes);
  FlipSigns(op, image.dtype, bytes.begin, {to, nbytes});
}

}  // namespace

void GatherRange(const TensorView& source, DType image_dtype,
                 int64_t byte_begin, std::span<std::byte> out) {
  if (out.empty()) return;
  const int itemsize = ItemSize(image_dtype);
  const SplitRange split = SplitBytes(byte_begin, out.size(), itemsize);
  GatherPart(source, split.head, out.data());
  GatherPart(source, split.tail, out.data() + out.size() - split.tail.end);

  const Dims src_strides = InBytes(source.strides, ItemSize(source.dtype));
  const Dims dst_strides = InBytes(ContiguousStrides(source.sizes), itemsize);
  const BlockCopier copier(source.dtype, image_dtype, source.op);
  const auto copy_box = [&](const Box& box) {
    copier.Copy(
        {.sizes = box.sizes,
         .src = BytesOf(source) + Dot(box.offsets, src_strides),
         .src_strides = src_strides,
         .dst = out.data() + (Dot(box.offsets, dst_strides) - byte_begin),
         .dst_strides = dst_strides});
  };
  RangeBoxes(source.sizes, copy_box).Run(split.whole);
}

void ScatterRange(const ChunkImage& image, const Box& part,
                  const TensorView& dest, int64_t byte_begin,
                  std::span<const std::byte> in, ElementOp op) {
  if (in.empty()) return;
  const int itemsize = ItemSize(image.dtype);
  const SplitRange split = SplitBytes(byte_begin, in.size(), itemsize);
  ScatterPart(image, part, dest, op, split.head, in.data());
  ScatterPart(image, part, dest, op, split.tail,
              in.data() + in.size() - split.tail.end);

  const Dims src_strides = InBytes(ContiguousStrides(image.sizes), itemsize);
  const Dims dst_strides = InBytes(dest.strides, ItemSize(dest.dtype));
  const BlockCopier copier(image.dtype, dest.dtype, op);
  const auto copy_box = [&](const Box& box) {
    const std::optional<Box> common = Intersect(box, part);
    if (!common) return;
    Dims at = common->offsets;
    for (int d = 0; d < at.size(); ++d) at[d] -= part.offsets[d];
    copier.Copy(
        {.sizes = common->sizes,
         .src = in.data() + (Dot(common->offsets, src_strides) - byte_begin),
         .src_strides = src_strides,
         .dst = static_cast<std::byte*>(dest.data) + Dot(at, dst_strides),
         .dst_strides = dst_strides});
  };
  RangeBoxes(image.sizes, copy_box).Run(split.whole);
}

}  // namespace dcp
