// The entries of an order, as bytes.

#ifndef DCP_CHECKPOINT_ORDER_ENTRIES_H_
#define DCP_CHECKPOINT_ORDER_ENTRIES_H_

#include <cstddef>
#include <span>
#include <string>
#include <string_view>
#include <vector>

#include "dcp/checkpoint.h"

namespace dcp {

/// `entries` as they are to be read: their tensors lie in `memory`.
std::string SerializeOrderEntries(std::span<const SaveEntry> entries,
                                  std::span<const std::byte> memory);

/// Views of `memory`, which is that of the order, and of `data`.
/// \error kDataLoss  garbled, or a tensor does not lie in `memory`
StatusOr<std::vector<SaveEntry>> ParseOrderEntries(std::string_view data,
                                                   std::span<std::byte> memory);

}  // namespace dcp

#endif  // DCP_CHECKPOINT_ORDER_ENTRIES_H_
