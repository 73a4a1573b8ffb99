// What savers answer: whatever is accepted can be answered again.

#include <string_view>

#include "checkpoint/save_answer.h"
#include "dcp/status.h"
#include "fuzz/fuzz_target.h"

namespace dcp {

std::vector<std::string> FuzzSeeds() {
  const std::vector<TraceSpan> spans = {
      {.name = "plan",
       .begin = std::chrono::nanoseconds(5),
       .end = std::chrono::nanoseconds(99)},
      {.name = "write", .thread = 77, .nbytes = 1 << 20}};
  return {SerializeSaveAnswer(SaveResult{"metadata"}, spans),
          SerializeSaveAnswer(SaveResult{}, {}),
          SerializeSaveAnswer(
              ErrnoToStatus(28, {.op = "write", .path = "/ckpt/__0_0.distcp"}),
              spans)};
}
std::vector<std::string> FuzzDictionary() { return WireDictionary(); }

}  // namespace dcp

extern "C" int LLVMFuzzerTestOneInput(const uint8_t* data, size_t size) {
  const std::string_view input(reinterpret_cast<const char*>(data), size);
  const auto answer = dcp::ParseSaveAnswer(input);
  if (!answer.ok()) return 0;
  const std::string sent =
      dcp::SerializeSaveAnswer(answer->result, answer->spans);
  const auto again = dcp::ParseSaveAnswer(sent);
  dcp::Require(again.ok(), "what was accepted can be answered again");
  dcp::Require(again->result.ok() == answer->result.ok() &&
                   again->spans.size() == answer->spans.size(),
               "an answer comes back as it was");
  return 0;
}
