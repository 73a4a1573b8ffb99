#include "checkpoint/mapped_view.h"

#include <cstddef>

namespace dcp {

TensorView MappedView(const MappedRead& read, const TensorView& view) {
  TensorView mapped = view;
  int64_t first = 0;
  for (int d = 0; d < read.target_offsets.size(); ++d) {
    first += read.target_offsets[d] * view.strides[d];
  }
  mapped.data =
      static_cast<std::byte*>(view.data) + first * ItemSize(view.dtype);
  mapped.sizes = read.box.sizes;
  mapped.strides = Dims::Filled(read.box.ndim(), 1);
  for (int d = 0; d < read.box.ndim(); ++d) {
    if (read.target_steps[d] == 0) continue;
    mapped.strides[d] = read.target_steps[d] *
                        view.strides[static_cast<int>(read.target_dims[d])];
  }
  return mapped;
}

}  // namespace dcp
