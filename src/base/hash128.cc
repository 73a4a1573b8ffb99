// MurmurHash3_x64_128 by Austin Appleby, who placed it in the public domain
// (https://github.com/aappleby/smhasher).

#include "base/hash128.h"

#include <bit>
#include <cstring>

namespace dcp {
namespace {

constexpr uint64_t kC1 = 0x87c37b91114253d5;
constexpr uint64_t kC2 = 0x4cf5ad432745937f;
constexpr size_t kBlockNbytes = 16;

uint64_t Scramble1(uint64_t word) { return std::rotl(word * kC1, 31) * kC2; }
uint64_t Scramble2(uint64_t word) { return std::rotl(word * kC2, 33) * kC1; }

uint64_t Finish(uint64_t word) {
  word = (word ^ (word >> 33)) * 0xff51afd7ed558ccd;
  word = (word ^ (word >> 33)) * 0xc4ceb9fe1a85ec53;
  return word ^ (word >> 33);
}

}  // namespace

Hash128 HashOf(std::string_view data) {
  uint64_t h1 = 0;
  uint64_t h2 = 0;
  std::string_view rest = data;
  uint64_t words[2] = {};
  for (; rest.size() >= kBlockNbytes; rest.remove_prefix(kBlockNbytes)) {
    std::memcpy(words, rest.data(), kBlockNbytes);
    h1 = (std::rotl(h1 ^ Scramble1(words[0]), 27) + h2) * 5 + 0x52dce729;
    h2 = (std::rotl(h2 ^ Scramble2(words[1]), 31) + h1) * 5 + 0x38495ab5;
  }
  words[0] = words[1] = 0;
  if (!rest.empty()) std::memcpy(words, rest.data(), rest.size());
  h1 ^= Scramble1(words[0]) ^ data.size();
  h2 ^= Scramble2(words[1]) ^ data.size();
  h1 += h2;
  h2 += h1;
  h1 = Finish(h1);
  h2 = Finish(h2);
  h1 += h2;
  return {.low = h1, .high = h2 + h1};
}

}  // namespace dcp
