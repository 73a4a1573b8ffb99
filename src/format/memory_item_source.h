// An ItemSource over memory.

#ifndef DCP_FORMAT_MEMORY_ITEM_SOURCE_H_
#define DCP_FORMAT_MEMORY_ITEM_SOURCE_H_

#include <algorithm>
#include <cstddef>
#include <span>

#include "format/zip_reader.h"

namespace dcp {

class MemoryItemSource : public ItemSource {
 public:
  /// `item` must outlive the source.
  explicit MemoryItemSource(std::span<const std::byte> item) : item_(item) {}

  Status Read(int64_t item_offset, std::span<std::byte> out) override {
    const auto part =
        item_.subspan(static_cast<size_t>(item_offset), out.size());
    std::copy(part.begin(), part.end(), out.begin());
    return absl::OkStatus();
  }

 private:
  std::span<const std::byte> item_;
};

}  // namespace dcp

#endif  // DCP_FORMAT_MEMORY_ITEM_SOURCE_H_
