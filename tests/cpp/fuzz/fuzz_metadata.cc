// `.metadata`: whatever is accepted can be written and read again.

#include <string_view>

#include "fuzz/fuzz_target.h"
#include "fuzz/golden_seeds.h"

namespace dcp {

std::vector<std::string> FuzzSeeds() { return MetadataSeeds(); }
std::vector<std::string> FuzzDictionary() { return PickleDictionary(); }

}  // namespace dcp

extern "C" int LLVMFuzzerTestOneInput(const uint8_t* data, size_t size) {
  const auto parsed = dcp::ParseMetadata(
      std::string_view(reinterpret_cast<const char*>(data), size));
  if (!parsed.ok()) return 0;
  const auto written = dcp::SerializeMetadata(*parsed);
  dcp::Require(written.ok(), "what was read can be written");
  const auto again = dcp::ParseMetadata(*written);
  dcp::Require(again.ok(), "what was written can be read");
  dcp::Require(again->entries() == parsed->entries() &&
                   again->storage_data == parsed->storage_data &&
                   again->planner_data == parsed->planner_data &&
                   again->storage_meta == parsed->storage_meta &&
                   again->version == parsed->version,
               "a round trip changes nothing");
  return 0;
}
