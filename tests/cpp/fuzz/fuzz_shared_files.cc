// What ranks that write files together tell each other of them, parts and
// checksums: whatever is accepted can be sent again.

#include <string_view>

#include "fuzz/fuzz_target.h"
#include "storage/shared_outcome.h"
#include "storage/shared_part.h"

namespace dcp {

std::vector<std::string> FuzzSeeds() {
  const SharedPart part{
      .files = {{.path = "/m/.dcpcpp-1.0.shard",
                 .name = "model-00001-of-00002.safetensors",
                 .nbytes = int64_t{3} << 20,
                 .head = "head",
                 .tensors = {{.begin = 1024,
                              .dtype = DType::kBFloat16,
                              .sizes = {1024, 512},
                              .chunks = {{{{0, 0}, {512, 512}}, 0, 3},
                                         {{{512, 0}, {512, 512}}, 1}}},
                             {.begin = int64_t{2} << 20,
                              .sizes = {},
                              .chunks = {{{{}, {}}, 1}}}},
                 .extents = {{.begin = 0, .end = 1 << 20, .owner = 1},
                             {.begin = 1 << 20, .end = 3 << 20}}},
                {.path = "/m/b",
                 .name = "shard-00001-model-00001-of-00001.safetensors",
                 .is_own = true,
                 .nbytes = 16,
                 .tensors = {{.begin = 8,
                              .dtype = DType::kUInt8,
                              .sizes = {8},
                              .chunks = {{{{0}, {8}}, 0, 4}},
                              .origin = Dims{24}}}}},
      .addresses = {"here", "there"}};
  return {SerializeSharedPart({}), SerializeSharedPart(part),
          SerializeSharedOutcome({}),
          SerializeSharedOutcome({{},
                                  {{.begin = 0, .nbytes = 1 << 20, .crc = 7},
                                   {.begin = 2 << 20, .nbytes = 5}}})};
}
std::vector<std::string> FuzzDictionary() { return WireDictionary(); }

}  // namespace dcp

extern "C" int LLVMFuzzerTestOneInput(const uint8_t* data, size_t size) {
  const std::string_view input(reinterpret_cast<const char*>(data), size);
  if (const auto part = dcp::ParseSharedPart(input); part.ok()) {
    const auto again = dcp::ParseSharedPart(dcp::SerializeSharedPart(*part));
    dcp::Require(again.ok() && *again == *part, "a part comes back as it was");
  }
  if (const auto outcome = dcp::ParseSharedOutcome(input); outcome.ok()) {
    const std::string sent = dcp::SerializeSharedOutcome(*outcome);
    const auto again = dcp::ParseSharedOutcome(sent);
    dcp::Require(again.ok() && dcp::SerializeSharedOutcome(*again) == sent,
                 "checksums come back as they were");
  }
  return 0;
}
