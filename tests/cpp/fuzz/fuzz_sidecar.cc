// Sidecars: whatever is accepted can be written and read again.

#include <string>

#include "format/sidecar.h"
#include "fuzz/fuzz_target.h"
#include "fuzz/with_crc.h"

namespace dcp {

std::vector<std::string> FuzzSeeds() {
  const Sidecar sidecar{.save_id = "dcpcpp-0123456789abcdef",
                        .step = 1000,
                        .metadata_nbytes = 954,
                        .metadata_crc32 = 1,
                        .files = {{.name = "__0_0.distcp",
                                   .nbytes = 3 << 20,
                                   .block_crcs = {1, 2, 3},
                                   .items = {{.offset = 0, .length = 1261},
                                             {.offset = 1280,
                                              .length = 1 << 20,
                                              .data_offset = 2816,
                                              .data_nbytes = 1000000}}},
                                  {.name = "__12_3.distcp"}}};
  return {SerializeSidecar(sidecar), SerializeSidecar({.save_id = "dcpcpp-0"}),
          SerializeSidecar(
              {.save_id = "dcpcpp-0", .index = SidecarIndex{.nbytes = 1000}})};
}
std::vector<std::string> FuzzDictionary() {
  return {"dcpcpp-", "__0_0.distcp", "\xff\xff\xff\xff\xff\xff\xff\xff\x7f"};
}

namespace {

void Check(const std::string& data) {
  const auto sidecar = ParseSidecar(data);
  if (!sidecar.ok()) return;
  const auto again = ParseSidecar(SerializeSidecar(*sidecar));
  Require(again.ok() && *again == *sidecar, "a round trip changes nothing");
}

}  // namespace
}  // namespace dcp

extern "C" int LLVMFuzzerTestOneInput(const uint8_t* data, size_t size) {
  for (const std::string& input : dcp::AlsoWithCrc(data, size)) {
    dcp::Check(input);
  }
  return 0;
}
