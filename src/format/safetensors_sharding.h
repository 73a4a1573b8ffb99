// What a rank's own safetensors file says of the parts that it holds.
//
// torch 2.13 _hf_utils: with save_distributed each rank writes a file of its
// own, whose `__metadata__` has, beside `format`, the text DCP_SHARDING_INFO:
//
//   {"model.weight": {"saved_offsets": [4, 0]}, ...}

#ifndef DCP_FORMAT_SAFETENSORS_SHARDING_H_
#define DCP_FORMAT_SAFETENSORS_SHARDING_H_

#include <map>
#include <string>
#include <string_view>

#include "dcp/dims.h"
#include "dcp/status.h"

namespace dcp {

/// The key in `__metadata__`.
inline constexpr std::string_view kShardingInfoKey = "DCP_SHARDING_INFO";
/// That of the framework, in every file that torch wrote.
inline constexpr std::string_view kFrameworkKey = "format";

/// That of torch's version of what such a file says, and this one.
inline constexpr std::string_view kShardingVersionKey = "DCP_VERSION";
inline constexpr std::string_view kShardingVersion = "1.0";

/// Whether `key` of `__metadata__` has a meaning of its own: it cannot tell of
/// a tensor's other name.
inline bool IsReservedKey(std::string_view key) {
  return key == kShardingInfoKey || key == kFrameworkKey;
}

/// Tensor -> where in the whole of it the file's part begins.
/// \error kDataLoss  not of that form
StatusOr<std::map<std::string, Dims>> ParseShardingInfo(std::string_view text);

/// The text for these offsets, as Python's json writes it; names are valid
/// UTF-8.
std::string SerializeShardingInfo(const std::map<std::string, Dims>& offsets);

}  // namespace dcp

#endif  // DCP_FORMAT_SAFETENSORS_SHARDING_H_
