// What ranks wrote, on the way to the coordinator: whatever is accepted can be
// sent again.

#include <string_view>

#include "checkpoint/write_outcome_codec.h"
#include "fuzz/fuzz_target.h"

namespace dcp {

std::vector<std::string> FuzzSeeds() {
  const WriteOutcome outcome{
      .results = {{.index = {.fqn = "w", .offset = Dims{1, 2}, .index = 3},
                   .size_in_bytes = 10,
                   .storage_info = {.relative_path = "__0_0.distcp",
                                    .offset = 64,
                                    .length = 10,
                                    .transform_descriptors = {"a", "b"}}},
                  {.index = {.fqn = "step"}}},
      .storage_data = "notes"};
  return {SerializeWriteOutcome({}), SerializeWriteOutcome(outcome)};
}
std::vector<std::string> FuzzDictionary() { return WireDictionary(); }

}  // namespace dcp

extern "C" int LLVMFuzzerTestOneInput(const uint8_t* data, size_t size) {
  const std::string_view input(reinterpret_cast<const char*>(data), size);
  const auto outcome = dcp::ParseWriteOutcome(input);
  if (!outcome.ok()) return 0;
  const std::string sent = dcp::SerializeWriteOutcome(*outcome);
  const auto again = dcp::ParseWriteOutcome(sent);
  dcp::Require(again.ok() && dcp::SerializeWriteOutcome(*again) == sent,
               "a round trip changes nothing");
  return 0;
}
