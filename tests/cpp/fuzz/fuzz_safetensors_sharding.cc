// What files of ranks say of the parts that they hold: whatever is accepted
// can be written and read again.

#include <string_view>

#include "format/safetensors_sharding.h"
#include "fuzz/fuzz_target.h"

namespace dcp {

std::vector<std::string> FuzzSeeds() {
  return {SerializeShardingInfo({}),
          SerializeShardingInfo({{"a.weight", {0, 16}}, {"b\n\xc3\xa9", {}}}),
          R"({"w": {"saved_offsets": [4, 0], "more": [1, {"x": 2}]}})"};
}
std::vector<std::string> FuzzDictionary() {
  return {"\"saved_offsets\":",
          "18446744073709551615",
          "-1",
          "1.5",
          "[]",
          "{}",
          "null",
          "\\u0000"};
}

}  // namespace dcp

extern "C" int LLVMFuzzerTestOneInput(const uint8_t* data, size_t size) {
  const std::string_view input(reinterpret_cast<const char*>(data), size);
  const auto offsets = dcp::ParseShardingInfo(input);
  if (!offsets.ok()) return 0;
  const auto again =
      dcp::ParseShardingInfo(dcp::SerializeShardingInfo(*offsets));
  dcp::Require(again.ok() && *again == *offsets,
               "a round trip changes nothing");
  return 0;
}
