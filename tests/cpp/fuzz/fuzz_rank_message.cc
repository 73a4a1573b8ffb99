// Messages between ranks, errors among them: whatever is accepted can be sent
// again.

#include <string_view>

#include "checkpoint/rank_exchange.h"
#include "fuzz/fuzz_target.h"

namespace dcp {

std::vector<std::string> FuzzSeeds() {
  const Status error = CorruptionError(
      "stored bytes differ",
      {.op = "read", .path = "/c/__0_0.distcp", .byte_offset = 4096});
  const Status failures = MakeRankFailures(
      {.phase = "read", .by_rank = {{0, error}, {7, NotFound("gone")}}});
  return {SealMessage(std::string("payload")), SealMessage(error),
          SealMessage(failures)};
}
std::vector<std::string> FuzzDictionary() { return WireDictionary(); }

}  // namespace dcp

extern "C" int LLVMFuzzerTestOneInput(const uint8_t* data, size_t size) {
  const std::string_view input(reinterpret_cast<const char*>(data), size);
  const auto content = dcp::OpenMessage(input);
  const std::string sent = dcp::SealMessage(content);
  dcp::Require(dcp::OpenMessage(sent) == content,
               "a round trip changes nothing");
  (void)dcp::GetRankFailures(content.status());
  (void)dcp::GetErrorDetail(content.status());
  return 0;
}
