// Headers of the calls over NCCL: whatever is accepted says what was written.

#include <string_view>

#include "fuzz/fuzz_target.h"
#include "fuzz/with_crc.h"
#include "nccl/nccl_header.h"

namespace dcp {
namespace {

std::string HeaderBytes(const NcclHeader& header) {
  std::string bytes(NcclHeader::kNbytes, '\0');
  WriteHeader(header, bytes);
  return bytes;
}

void WriteAgain(std::string_view input) {
  const auto header = ReadHeader(input, 1);
  if (!header.ok()) return;
  Require(HeaderBytes(*header) == input.substr(0, NcclHeader::kNbytes),
          "a header has one form");
  const NcclHeader ours = HeaderOf(NcclMethod::kGather, 7, "message");
  (void)CompareHeaders(std::vector<NcclHeader>{ours, *header});
  (void)CheckMessage(*header, "message", 1);
}

}  // namespace

std::vector<std::string> FuzzSeeds() {
  return {HeaderBytes(HeaderOf(NcclMethod::kMeet, 1, "")),
          HeaderBytes(HeaderOf(NcclMethod::kGather, 7, "message")),
          HeaderBytes({.method = NcclMethod::kFailure,
                       .sequence = 1ULL << 40,
                       .nbytes = 10})};
}
std::vector<std::string> FuzzDictionary() { return {}; }

}  // namespace dcp

extern "C" int LLVMFuzzerTestOneInput(const uint8_t* data, size_t size) {
  for (const std::string& input : dcp::AlsoWithCrc(data, size)) {
    dcp::WriteAgain(input);
  }
  return 0;
}
