// Object items: whatever is accepted can be written and read again.

#include <string_view>

#include "format/object_item.h"
#include "fuzz/fuzz_target.h"
#include "fuzz/golden_seeds.h"

namespace dcp {

std::vector<std::string> FuzzSeeds() { return ItemSeeds(ItemKind::kObject); }
std::vector<std::string> FuzzDictionary() { return ZipDictionary(); }

}  // namespace dcp

extern "C" int LLVMFuzzerTestOneInput(const uint8_t* data, size_t size) {
  const auto value = dcp::DecodeObjectItem(
      std::string_view(reinterpret_cast<const char*>(data), size));
  if (!value.ok()) return 0;
  const auto written = dcp::EncodeObjectItem(*value);
  dcp::Require(written.ok(), "what was read can be written");
  const auto again = dcp::DecodeObjectItem(*written);
  dcp::Require(again.ok(), "what was written can be read");
  // By bytes: a NaN is not equal to itself.
  const auto rewritten = dcp::EncodeObjectItem(*again);
  dcp::Require(rewritten.ok() && *rewritten == *written,
               "a round trip changes nothing");
  return 0;
}
