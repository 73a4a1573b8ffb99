// The row-major bytes of a strided tensor, element by element.

#ifndef DCP_TESTS_FORMAT_STRIDED_H_
#define DCP_TESTS_FORMAT_STRIDED_H_

#include <cstdint>
#include <string>
#include <string_view>

#include "dcp/dims.h"
#include "format/torch_item_reader.h"

namespace dcp {

inline std::string RowMajorBytes(const TensorItemInfo& info,
                                 std::string_view item) {
  const int64_t itemsize = ItemSize(info.dtype);
  Dims index = Dims::Filled(info.sizes.size(), 0);
  std::string bytes;
  for (int64_t n = Numel(info.sizes); n > 0; --n) {
    int64_t element = info.storage_offset;
    for (int d = 0; d < index.size(); ++d)
      element += index[d] * info.strides[d];
    bytes +=
        item.substr(static_cast<size_t>(info.data_offset + element * itemsize),
                    static_cast<size_t>(itemsize));
    for (int d = index.size() - 1; d >= 0; --d) {
      if (++index[d] < info.sizes[d]) break;
      index[d] = 0;
    }
  }
  return bytes;
}

}  // namespace dcp

#endif  // DCP_TESTS_FORMAT_STRIDED_H_
