#include "staging/copy_past_cache.h"

#include <catch2/catch.hpp>
#include <vector>

#include "base/tensor_cases.h"

namespace dcp {
namespace {

TEST_CASE("a copy past the cache has the bytes, and no others change",
          "[staging]") {
  Random random(1);
  std::vector<std::byte> from(200000);
  for (std::byte& b : from) b = std::byte(random.Between(0, 255));
  constexpr std::byte kUntouched{0xA5};
  for (int round = 0; round < 300; ++round) {
    std::vector<std::byte> to(from.size() + 200, kUntouched);
    const auto most = random.Pick({300, 17000, 199000});
    const auto nbytes = static_cast<size_t>(random.Between(0, most));
    const auto begin = static_cast<size_t>(random.Between(0, 100));
    const auto target = static_cast<size_t>(random.Between(0, 100));
    CopyPastCache(to.data() + target, from.data() + begin, nbytes);
    std::vector<std::byte> expected(to.size(), kUntouched);
    std::copy_n(from.begin() + static_cast<ptrdiff_t>(begin), nbytes,
                expected.begin() + static_cast<ptrdiff_t>(target));
    INFO(nbytes << " bytes from " << begin << " to " << target);
    CHECK(to == expected);
  }
}

}  // namespace
}  // namespace dcp
