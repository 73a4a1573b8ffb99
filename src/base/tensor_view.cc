#include "dcp/tensor_view.h"

#include <utility>

namespace dcp {

bool SupportsElementOp(ElementOp op, DType dtype) {
  const DTypeKind kind = GetDTypeInfo(dtype).kind;
  if (op == ElementOp::kNone || kind == DTypeKind::kComplex) return true;
  return op == ElementOp::kNeg && kind == DTypeKind::kFloat &&
         ItemSize(dtype) > 1;
}

bool TensorView::is_contiguous() const {
  int64_t expected = 1;
  for (int d = sizes.size() - 1; d >= 0; --d) {
    if (sizes[d] == 0) return true;
    if (sizes[d] == 1) continue;
    if (strides[d] != expected) return false;
    expected *= sizes[d];
  }
  return true;
}

TensorView ContiguousView(void* data, DType dtype, Dims sizes) {
  Dims strides = ContiguousStrides(sizes);
  return {.data = data,
          .dtype = dtype,
          .sizes = std::move(sizes),
          .strides = std::move(strides)};
}

TensorView Narrow(const TensorView& view, const Box& box) {
  TensorView part = view;
  int64_t element_offset = 0;
  for (int d = 0; d < view.sizes.size(); ++d) {
    element_offset += box.offsets[d] * view.strides[d];
  }
  part.sizes = box.sizes;
  if (part.data != nullptr) {
    part.data =
        static_cast<char*>(view.data) + element_offset * ItemSize(view.dtype);
  }
  return part;
}

}  // namespace dcp
