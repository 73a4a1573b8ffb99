// SipHash, in which digests and the hashes of tables differ by rounds and key.

#ifndef DCP_BASE_SIP_HASH_H_
#define DCP_BASE_SIP_HASH_H_

#include <bit>
#include <cstdint>
#include <cstring>
#include <string_view>

namespace dcp {

/// Aumasson and Bernstein, "SipHash: a fast short-input PRF": who does not know
/// the key can neither tell nor choose what comes out. Words go in first, then
/// one MarkEnd, then words come out.
template <int kRoundsOfWord, int kRoundsOfEnd>
class SipHash {
 public:
  SipHash(uint64_t key0, uint64_t key1)
      : v0_(key0 ^ 0x736f6d6570736575),
        v1_(key1 ^ 0x646f72616e646f6d),
        v2_(key0 ^ 0x6c7967656e657261),
        v3_(key1 ^ 0x7465646279746573) {}

  void Absorb(uint64_t word) {
    v3_ ^= word;
    Run<kRoundsOfWord>();
    v0_ ^= word;
  }

  /// Its words, and one with what is left and its length.
  void AbsorbText(std::string_view text) {
    size_t at = 0;
    for (; at + 8 <= text.size(); at += 8) {
      uint64_t word = 0;
      std::memcpy(&word, text.data() + at, 8);
      Absorb(word);
    }
    uint64_t last = static_cast<uint64_t>(text.size()) << 56;
    if (at < text.size()) {
      std::memcpy(&last, text.data() + at, text.size() - at);
    }
    Absorb(last);
  }

  /// The reference code's 0xee and 0xdd, of the variant with 128 bits.
  void Tweak(uint64_t constant) { v1_ ^= constant; }
  void MarkEnd(uint64_t constant) { v2_ ^= constant; }

  uint64_t Squeeze() {
    Run<kRoundsOfEnd>();
    return v0_ ^ v1_ ^ v2_ ^ v3_;
  }

 private:
  template <int kRounds>
  void Run() {
    for (int i = 0; i < kRounds; ++i) Round();
  }

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

  uint64_t v0_;
  uint64_t v1_;
  uint64_t v2_;
  uint64_t v3_;
};

}  // namespace dcp

#endif  // DCP_BASE_SIP_HASH_H_
