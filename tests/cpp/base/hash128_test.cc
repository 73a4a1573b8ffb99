#include "base/hash128.h"

#include <catch2/catch.hpp>
#include <string>
#include <unordered_set>

namespace dcp {
namespace {

TEST_CASE("hashes are those of MurmurHash3_x64_128", "[hash128]") {
  CHECK(HashOf("") == Hash128{});
  CHECK(HashOf("The quick brown fox jumps over the lazy dog") ==
        Hash128{.low = 0xe34bbc7bbc071b6c, .high = 0x7a433ca9c49a9347});
}

TEST_CASE("one bit or byte more or less makes another hash", "[hash128]") {
  std::unordered_set<Hash128, Hash128Hash> seen;
  size_t count = 0;
  for (size_t size = 0; size < 70; ++size) {
    std::string bytes(size, '\0');
    seen.insert(HashOf(bytes));
    ++count;
    for (size_t bit = 0; bit < size * 8; ++bit) {
      bytes[bit / 8] = static_cast<char>(1 << (bit % 8));
      seen.insert(HashOf(bytes));
      bytes[bit / 8] = 0;
      ++count;
    }
  }
  CHECK(seen.size() == count);
}

}  // namespace
}  // namespace dcp
