// SipHash-2-4 with 128 bits of output (Aumasson and Bernstein, "SipHash: a fast
// short-input PRF", and its reference code's 128-bit variant), with the key 0.
//
// Of what is linked already nothing serves: absl's hashes change from process
// to process, zstd keeps its xxHash (of 64 bits) to itself, and ISA-L has CRCs,
// which are linear: changes that cancel out are not far-fetched in a table of
// numbers. SipHash mixes as well as any that is not cryptographic, is a page of
// code, and digests the state of a 70B model in a tenth of a millisecond.

#include "base/digest128.h"

#include <bit>
#include <cstring>

namespace dcp {
namespace {

class SipHash {
 public:
  void Absorb(uint64_t word) {
    v3_ ^= word;
    Round();
    Round();
    v0_ ^= word;
  }

  Digest128 Finish() {
    v2_ ^= 0xee;
    const uint64_t low = FourRounds();
    v1_ ^= 0xdd;
    return {.low = low, .high = FourRounds()};
  }

 private:
  void Round() {
    v0_ += v1_;
    v1_ = std::rotl(v1_, 13) ^ v0_;
    v0_ = std::rotl(v0_, 32);
    v2_ += v3_;
    v3_ = std::rotl(v3_, 16) ^ v2_;
    v0_ += v3_;
    v3_ = std::rotl(v3_, 21) ^ v0_;
    v2_ += v1_;
    v1_ = std::rotl(v1_, 17) ^ v2_;
    v2_ = std::rotl(v2_, 32);
  }

  uint64_t FourRounds() {
    for (int i = 0; i < 4; ++i) Round();
    return v0_ ^ v1_ ^ v2_ ^ v3_;
  }

  uint64_t v0_ = 0x736f6d6570736575;
  uint64_t v1_ = 0x646f72616e646f6d ^ 0xee;
  uint64_t v2_ = 0x6c7967656e657261;
  uint64_t v3_ = 0x7465646279746573;
};

}  // namespace

Digest128 DigestOf(std::string_view data) {
  SipHash hash;
  size_t at = 0;
  for (; at + 8 <= data.size(); at += 8) {
    uint64_t word = 0;
    std::memcpy(&word, data.data() + at, 8);
    hash.Absorb(word);
  }
  uint64_t last = static_cast<uint64_t>(data.size()) << 56;
  if (at < data.size()) std::memcpy(&last, data.data() + at, data.size() - at);
  hash.Absorb(last);
  return hash.Finish();
}

std::string ToString(const Digest128& digest) {
  constexpr char kDigits[] = "0123456789abcdef";
  std::string text;
  for (const uint64_t half : {digest.low, digest.high}) {
    for (int shift = 0; shift < 64; shift += 8) {
      text += kDigits[(half >> (shift + 4)) & 15];
      text += kDigits[(half >> shift) & 15];
    }
  }
  return text;
}

}  // namespace dcp
