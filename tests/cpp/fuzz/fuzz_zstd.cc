// zstd frames: no input expands beyond the cap.

#include <string_view>

#include "format/zstd_transform.h"
#include "fuzz/fuzz_target.h"
#include "fuzz/golden_seeds.h"

namespace dcp {

std::vector<std::string> FuzzSeeds() {
  std::vector<std::string> seeds;
  for (const std::string& item : ItemSeeds(ItemKind::kTensor)) {
    if (seeds.size() >= 20) break;
    const auto frame = ZstdCompress(item);
    if (frame.ok()) seeds.push_back(*frame);
  }
  return seeds;
}
std::vector<std::string> FuzzDictionary() { return {"\x28\xb5\x2f\xfd"}; }

}  // namespace dcp

extern "C" int LLVMFuzzerTestOneInput(const uint8_t* data, size_t size) {
  constexpr int64_t kCap = int64_t{64} << 10;
  const auto content = dcp::ZstdDecompress(
      std::string_view(reinterpret_cast<const char*>(data), size), kCap);
  dcp::Require(!content.ok() || static_cast<int64_t>(content->size()) <= kCap,
               "the cap holds");
  return 0;
}
