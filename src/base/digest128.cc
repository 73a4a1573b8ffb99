// SipHash-2-4 with 128 bits of output (Aumasson and Bernstein, "SipHash: a fast
// short-input PRF", and its reference code's 128-bit variant), with the key 0.
//
// Of what is linked already nothing serves: absl's hashes change from process
// to process, zstd keeps its xxHash (of 64 bits) to itself, and ISA-L has CRCs,
// which are linear: changes that cancel out are not far-fetched in a table of
// numbers. SipHash mixes as well as any that is not cryptographic, is a page of
// code, and digests the state of a 70B model in a tenth of a millisecond.

#include "base/digest128.h"

#include "base/sip_hash.h"

namespace dcp {

Digest128 DigestOf(std::string_view data) {
  SipHash<2, 4> hash(0, 0);
  hash.Tweak(0xee);
  hash.AbsorbText(data);
  hash.MarkEnd(0xee);
  const uint64_t low = hash.Squeeze();
  hash.Tweak(0xdd);
  return {.low = low, .high = hash.Squeeze()};
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
