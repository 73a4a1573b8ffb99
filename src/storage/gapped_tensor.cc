#include "storage/gapped_tensor.h"

#include "base/strided_copy.h"

namespace dcp {
namespace {

constexpr int64_t kMaxSpanNbytes = int64_t{16} << 20;

/// Elements from the first to the last one of a box, both included.
int64_t SpanOf(const Dims& sizes, const Dims& strides) {
  int64_t span = 1;
  for (int d = 0; d < sizes.size(); ++d) span += (sizes[d] - 1) * strides[d];
  return span;
}

}  // namespace

Status GappedTensor::Read(const Box& box, const TensorView& destination) {
  DCP_RETURN_IF_ERROR(proceed_());
  const int64_t nbytes =
      SpanOf(box.sizes, tensor_.strides) * ItemSize(tensor_.dtype);
  if (nbytes > kMaxSpanNbytes && box.numel() > 1) {
    return ReadHalves(box, destination);
  }
  return ReadSpan(box, nbytes, destination);
}

Status GappedTensor::ReadHalves(const Box& box, const TensorView& destination) {
  int cut = 0;  // the dimension that reaches farthest
  for (int d = 1; d < box.ndim(); ++d) {
    if ((box.sizes[d] - 1) * tensor_.strides[d] >
        (box.sizes[cut] - 1) * tensor_.strides[cut]) {
      cut = d;
    }
  }
  Box first = WholeBox(box.sizes);  // relative to the box
  first.sizes[cut] = box.sizes[cut] / 2;
  Box second = WholeBox(box.sizes);
  second.offsets[cut] = first.sizes[cut];
  second.sizes[cut] = box.sizes[cut] - first.sizes[cut];
  for (const Box& half : {first, second}) {
    Box part{.offsets = box.offsets, .sizes = half.sizes};
    part.offsets[cut] += half.offsets[cut];
    DCP_RETURN_IF_ERROR(Read(part, Narrow(destination, half)));
  }
  return absl::OkStatus();
}

Status GappedTensor::ReadSpan(const Box& box, int64_t nbytes,
                              const TensorView& destination) {
  int64_t first = tensor_.storage_offset;
  for (int d = 0; d < box.ndim(); ++d) {
    first += box.offsets[d] * tensor_.strides[d];
  }
  span_.resize(static_cast<size_t>(nbytes));
  const IoSlice slice{span_.data(), span_.size()};
  DCP_RETURN_IF_ERROR(file_.ReadFully(
      storage_offset_ + first * ItemSize(tensor_.dtype), {&slice, 1}));
  nbytes_read_ += nbytes;
  const TensorView view{.data = span_.data(),
                        .dtype = tensor_.dtype,
                        .sizes = box.sizes,
                        .strides = tensor_.strides,
                        .op = OpOf(tensor_)};
  const ChunkImage image{.dtype = destination.dtype, .sizes = box.sizes};
  gathered_.resize(static_cast<size_t>(image.nbytes()));
  GatherRange(view, destination.dtype, 0, gathered_);
  ScatterRange(image, WholeBox(box.sizes), destination, 0, gathered_,
               ElementOp::kNone);
  return absl::OkStatus();
}

ElementOp OpOf(const TensorPickle& tensor) {
  if (tensor.conj) return ElementOp::kConj;
  return tensor.neg ? ElementOp::kNeg : ElementOp::kNone;
}

}  // namespace dcp
