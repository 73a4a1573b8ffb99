#include "format/possible_values.h"

#include <optional>

namespace dcp {

bool IsPossibleSize(const Dims& size, DType dtype) {
  const std::optional<int64_t> numel = CheckedNumel(size);
  int64_t nbytes = 0;
  return numel && !__builtin_mul_overflow(*numel, ItemSize(dtype), &nbytes);
}

bool IsPossibleChunk(const Dims& size, const Box& chunk) {
  if (InBounds(size, chunk)) return true;
  if (chunk.offsets.size() != size.size() ||
      chunk.sizes.size() != size.size()) {
    return false;
  }
  bool is_empty = false;
  for (int d = 0; d < size.size(); ++d) {
    int64_t end = 0;
    is_empty |= chunk.sizes[d] == 0;
    if (chunk.offsets[d] < 0 || chunk.sizes[d] < 0 ||
        __builtin_add_overflow(chunk.offsets[d], chunk.sizes[d], &end)) {
      return false;
    }
  }
  return is_empty && CheckedNumel(chunk.sizes);
}

bool IsPossiblePlace(const StorageInfo& place) {
  int64_t end = 0;
  return place.offset >= 0 && place.length >= 0 &&
         !__builtin_add_overflow(place.offset, place.length, &end);
}

}  // namespace dcp
