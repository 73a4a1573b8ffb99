#include "base/checksum.h"

#include <isa-l.h>

#include <array>

namespace dcp {
namespace {

// Appending n bytes multiplies a CRC, seen as a polynomial over GF(2), by
// x^(8n) modulo the CRC polynomial; the method of zlib 1.2.12 crc32_combine.
// Polynomials are bit-reflected: bit 31 is x^0.
constexpr uint32_t kPolynomial = 0xEDB88320;
constexpr uint32_t kOne = uint32_t{1} << 31;

constexpr uint32_t MultiplyMod(uint32_t a, uint32_t b) {
  uint32_t product = 0;
  for (uint32_t bit = kOne; bit != 0; bit >>= 1) {
    if ((a & bit) != 0) product ^= b;
    b = (b & 1) != 0 ? (b >> 1) ^ kPolynomial : b >> 1;
  }
  return product;
}

// kPowers[k] = x^(8 * 2^k) mod P, for lengths below 2^63 bytes.
constexpr std::array<uint32_t, 63> MakePowers() {
  std::array<uint32_t, 63> powers{};
  uint32_t power = kOne >> 8;  // x^8
  for (uint32_t& entry : powers) {
    entry = power;
    power = MultiplyMod(power, power);
  }
  return powers;
}
constexpr std::array<uint32_t, 63> kPowers = MakePowers();

}  // namespace

uint32_t Crc32(uint32_t crc, std::span<const std::byte> data) {
  if (data.empty()) return crc;
  return crc32_gzip_refl(
      crc, reinterpret_cast<const unsigned char*>(data.data()), data.size());
}

uint32_t Crc32Combine(uint32_t crc_a, uint32_t crc_b, int64_t nbytes_b) {
  uint32_t shifted = crc_a;
  for (size_t k = 0; nbytes_b != 0; ++k, nbytes_b >>= 1) {
    if ((nbytes_b & 1) != 0) shifted = MultiplyMod(kPowers[k], shifted);
  }
  return shifted ^ crc_b;
}

}  // namespace dcp
