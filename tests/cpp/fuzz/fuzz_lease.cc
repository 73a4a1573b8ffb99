// Lease files: what is said of their holder is printable.

#include <algorithm>
#include <string_view>

#include "fuzz/fuzz_target.h"
#include "storage/lease.h"

namespace dcp {

std::vector<std::string> FuzzSeeds() {
  return {"dcpcpp-0123456789abcdef\nprocess 7 on host node-3\n17\n", "x", ""};
}
std::vector<std::string> FuzzDictionary() { return {"\n", "\x1b[2J"}; }

}  // namespace dcp

extern "C" int LLVMFuzzerTestOneInput(const uint8_t* data, size_t size) {
  const std::string_view input(reinterpret_cast<const char*>(data), size);
  const std::string holder = dcp::LeaseHolder(input);
  dcp::Require(std::all_of(holder.begin(), holder.end(),
                           [](char c) { return c >= ' ' && c <= '~'; }),
               "a holder is printable");
  return 0;
}
