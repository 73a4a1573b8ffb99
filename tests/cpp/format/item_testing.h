// Whole items in memory, for tests.

#ifndef DCP_TESTS_FORMAT_ITEM_TESTING_H_
#define DCP_TESTS_FORMAT_ITEM_TESTING_H_

#include <catch2/catch.hpp>
#include <cstddef>
#include <span>
#include <string>
#include <string_view>

#include "base/checksum.h"
#include "format/bytes.h"
#include "format/memory_item_source.h"
#include "format/torch_item.h"
#include "format/torch_item_reader.h"

namespace dcp {

/// The item of `spec` around `data`, as if it started at `item_offset`.
inline std::string RenderItem(const TensorItemSpec& spec, int64_t item_offset,
                              std::string_view data) {
  const auto layout = LayoutTensorItem(spec, item_offset);
  REQUIRE(layout.ok());
  REQUIRE(layout->data_nbytes == static_cast<int64_t>(data.size()));
  std::string item(static_cast<size_t>(layout->length), '?');
  const auto bytes = std::as_writable_bytes(std::span(item));
  const auto data_offset = static_cast<size_t>(layout->data_offset);
  item.replace(data_offset, data.size(), data);
  RenderItemPrefix(spec, *layout, item_offset, bytes.first(data_offset));
  RenderItemSuffix(spec, *layout, Crc32(0, AsBytes(data)),
                   bytes.last(static_cast<size_t>(ItemSuffixNbytes(*layout))));
  return item;
}

inline StatusOr<TensorItemInfo> ParseItem(std::string_view item) {
  MemoryItemSource source(AsBytes(item));
  return ParseTensorItem(source, static_cast<int64_t>(item.size()));
}

}  // namespace dcp

#endif  // DCP_TESTS_FORMAT_ITEM_TESTING_H_
