// Encodings of the floating-point formats narrower than float32, bit by bit.
//
// Everything goes through float32, as in torch, and rounds to nearest even.
// Sources: IEEE 754 for float16, the OCP 8-bit formats (OFP8) for e4m3fn and
// e5m2, the OCP microscaling formats (MX) for e8m0fnu, and for the fnuz types
// their names: finite, NaN, unsigned zero. What a format does beyond its range
// is torch 2.13's choice (torch/headeronly/util/Float8_*.h).

#ifndef DCP_BASE_FLOAT_FORMATS_H_
#define DCP_BASE_FLOAT_FORMATS_H_

#include <array>
#include <bit>
#include <cstdint>

namespace dcp {

enum class Overflow : uint8_t {
  kToInfinity,  ///< IEEE
  kSaturate,    ///< to the largest finite value, infinity too
  kToNan,
};

/// A format of one sign bit, `exponent_bits` and `mantissa_bits`.
struct FloatFormat {
  int exponent_bits;
  int mantissa_bits;
  int bias;
  uint32_t max_finite;  ///< magnitude bits of the largest finite value
  uint32_t nan;         ///< magnitude bits (all bits if there is no -0)
  Overflow overflow;
  bool has_negative_zero = true;

  constexpr int sign_shift() const { return exponent_bits + mantissa_bits; }
};

inline constexpr FloatFormat kHalfFormat{.exponent_bits = 5,
                                         .mantissa_bits = 10,
                                         .bias = 15,
                                         .max_finite = 0x7bff,
                                         .nan = 0x7e00,
                                         .overflow = Overflow::kToInfinity};
inline constexpr FloatFormat kE4M3FNFormat{.exponent_bits = 4,
                                           .mantissa_bits = 3,
                                           .bias = 7,
                                           .max_finite = 0x7e,
                                           .nan = 0x7f,
                                           .overflow = Overflow::kSaturate};
inline constexpr FloatFormat kE5M2Format{.exponent_bits = 5,
                                         .mantissa_bits = 2,
                                         .bias = 15,
                                         .max_finite = 0x7b,
                                         .nan = 0x7f,
                                         .overflow = Overflow::kToInfinity};
inline constexpr FloatFormat kE4M3FNUZFormat{.exponent_bits = 4,
                                             .mantissa_bits = 3,
                                             .bias = 8,
                                             .max_finite = 0x7f,
                                             .nan = 0x80,
                                             .overflow = Overflow::kToNan,
                                             .has_negative_zero = false};
inline constexpr FloatFormat kE5M2FNUZFormat{.exponent_bits = 5,
                                             .mantissa_bits = 2,
                                             .bias = 16,
                                             .max_finite = 0x7f,
                                             .nan = 0x80,
                                             .overflow = Overflow::kToNan,
                                             .has_negative_zero = false};

inline constexpr uint32_t kFloat32Infinity = 0x7f800000;
inline constexpr uint32_t kQuietNan = 0x7fc00000;

/// Rounds the float32 magnitude `u` (sign cleared, not NaN) to `format`. The
/// result may exceed format.max_finite.
constexpr uint32_t RoundMagnitude(const FloatFormat& format, uint32_t u) {
  const int dropped = 23 - format.mantissa_bits;
  const uint32_t min_exponent = static_cast<uint32_t>(128 - format.bias);
  const uint32_t exponent = u >> 23;
  uint32_t kept = u - (static_cast<uint32_t>(127 - format.bias) << 23);
  uint32_t shift = static_cast<uint32_t>(dropped);
  if (exponent < min_exponent) {
    // Subnormal in `format`: the leading 1 becomes explicit. A float32
    // subnormal has none, but is far below half of the least value anyway.
    kept = (u & 0x7fffff) | 0x800000;
    shift += min_exponent - exponent;
    if (shift > 25) return 0;
  }
  const uint32_t half = uint32_t{1} << (shift - 1);
  return (kept + half - 1 + ((kept >> shift) & 1)) >> shift;
}

/// The bits of `value` in `format`. A NaN is quiet and keeps its sign where
/// the format has signed NaNs.
constexpr uint32_t EncodeFloat(const FloatFormat& format, float value) {
  const auto bits = std::bit_cast<uint32_t>(value);
  const uint32_t u = bits & 0x7fffffff;
  const uint32_t sign = (bits >> 31) << format.sign_shift();
  if (u > kFloat32Infinity) {
    return format.has_negative_zero ? sign | format.nan : format.nan;
  }
  uint32_t magnitude = RoundMagnitude(format, u);
  if (magnitude > format.max_finite || u == kFloat32Infinity) {
    switch (format.overflow) {
      case Overflow::kToInfinity:
        magnitude = format.max_finite + 1;
        break;
      case Overflow::kSaturate:
        magnitude = format.max_finite;
        break;
      case Overflow::kToNan:
        return format.nan;
    }
  }
  if (magnitude == 0 && !format.has_negative_zero) return 0;
  return sign | magnitude;
}

/// The value of `bits` in `format`; exact.
constexpr float DecodeFloat(const FloatFormat& format, uint32_t bits) {
  const uint32_t sign = (bits >> format.sign_shift()) << 31;
  const uint32_t u = bits & ((uint32_t{1} << format.sign_shift()) - 1);
  const uint32_t infinity = format.max_finite + 1;
  if (format.has_negative_zero ? u > format.max_finite : bits == format.nan) {
    const bool is_infinity =
        format.overflow == Overflow::kToInfinity && u == infinity;
    return std::bit_cast<float>(sign |
                                (is_infinity ? kFloat32Infinity : kQuietNan));
  }
  const int widen = 23 - format.mantissa_bits;
  const auto rebias = static_cast<uint32_t>(127 - format.bias);
  if ((u >> format.mantissa_bits) != 0) {
    return std::bit_cast<float>(sign | ((u << widen) + (rebias << 23)));
  }
  if (u == 0) return std::bit_cast<float>(sign);
  // Subnormal: shift the leading 1 to the place of the implicit one.
  const int up = std::countl_zero(u) - (31 - format.mantissa_bits);
  const uint32_t mantissa = (u << (widen + up)) & 0x7fffff;
  const uint32_t exponent = rebias + 1 - static_cast<uint32_t>(up);
  return std::bit_cast<float>(sign | (exponent << 23) | mantissa);
}

/// float16 as F16C converts it (Intel SDM, VCVTPS2PH/VCVTPH2PS): a NaN becomes
/// quiet and keeps the leading bits of its payload.
constexpr uint16_t EncodeHalf(float value) {
  const auto bits = std::bit_cast<uint32_t>(value);
  if ((bits & 0x7fffffff) > kFloat32Infinity) {
    return static_cast<uint16_t>(((bits >> 16) & 0x8000) | 0x7e00 |
                                 ((bits >> 13) & 0x3ff));
  }
  return static_cast<uint16_t>(EncodeFloat(kHalfFormat, value));
}

constexpr float DecodeHalf(uint16_t bits) {
  if ((bits & 0x7fff) > 0x7c00) {
    const auto wide = static_cast<uint32_t>(bits);
    return std::bit_cast<float>(((wide & 0x8000) << 16) | kQuietNan |
                                ((wide & 0x3ff) << 13));
  }
  return DecodeFloat(kHalfFormat, bits);
}

constexpr uint16_t EncodeBFloat16(float value) {
  const auto bits = std::bit_cast<uint32_t>(value);
  if ((bits & 0x7fffffff) > kFloat32Infinity) return 0x7fc0;
  return static_cast<uint16_t>((bits + 0x7fff + ((bits >> 16) & 1)) >> 16);
}

constexpr float DecodeBFloat16(uint16_t bits) {
  return std::bit_cast<float>(static_cast<uint32_t>(bits) << 16);
}

/// e8m0fnu holds powers of two only, has no sign and no zero: the sign is
/// dropped and 0 becomes 2^-127, as in torch.
constexpr uint8_t EncodeE8M0(float value) {
  const uint32_t u = std::bit_cast<uint32_t>(value) & 0x7fffffff;
  const uint32_t exponent = u >> 23;
  const uint32_t mantissa = u & 0x7fffff;
  if (exponent == 0xff) return 0xff;
  // A tie is between 2^k, odd by its implicit 1, and 2^(k+1).
  const bool up = mantissa > 0x400000 || (mantissa == 0x400000 && exponent > 0);
  return static_cast<uint8_t>(exponent + (up ? 1 : 0));
}

constexpr float DecodeE8M0(uint8_t bits) {
  if (bits == 0) return std::bit_cast<float>(uint32_t{0x00400000});
  if (bits == 0xff) return std::bit_cast<float>(kQuietNan);
  return std::bit_cast<float>(static_cast<uint32_t>(bits) << 23);
}

/// The values of all 256 codes of an 8-bit format.
constexpr std::array<float, 256> MakeDecodeTable(const FloatFormat& format) {
  std::array<float, 256> table{};
  for (uint32_t bits = 0; bits < 256; ++bits) {
    table[bits] = DecodeFloat(format, bits);
  }
  return table;
}

}  // namespace dcp

#endif  // DCP_BASE_FLOAT_FORMATS_H_
