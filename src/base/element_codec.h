// ElementCodec<DType>: how one element of a type is read from and written to
// memory, and the C++ type that holds its value meanwhile.

#ifndef DCP_BASE_ELEMENT_CODEC_H_
#define DCP_BASE_ELEMENT_CODEC_H_

#include <complex>
#include <cstddef>
#include <cstdint>
#include <cstring>
#include <limits>
#include <type_traits>

#include "base/float_formats.h"
#include "dcp/dtype.h"

namespace dcp {

/// An element that memory holds as `T` itself.
template <typename T>
struct PlainCodec {
  using Value = T;
  static constexpr int kItemSize = sizeof(T);
  static T Load(const std::byte* from) {
    T value;
    std::memcpy(&value, from, sizeof(T));
    return value;
  }
  static void Store(T value, std::byte* to) {
    std::memcpy(to, &value, sizeof(T));
  }
};

/// A narrow float, computed with as float32.
template <typename Bits, float (*kDecode)(Bits), Bits (*kEncode)(float)>
struct NarrowCodec {
  using Value = float;
  static constexpr int kItemSize = sizeof(Bits);
  static float Load(const std::byte* from) {
    return kDecode(PlainCodec<Bits>::Load(from));
  }
  static void Store(float value, std::byte* to) {
    PlainCodec<Bits>::Store(kEncode(value), to);
  }
};

template <const FloatFormat& kFormat>
inline constexpr std::array<float, 256> kDecodeTable = MakeDecodeTable(kFormat);

template <const FloatFormat& kFormat>
float DecodeByTable(uint8_t bits) {
  return kDecodeTable<kFormat>[bits];
}
template <const FloatFormat& kFormat>
uint8_t EncodeByte(float value) {
  return static_cast<uint8_t>(EncodeFloat(kFormat, value));
}
template <const FloatFormat& kFormat>
using ByteCodec =
    NarrowCodec<uint8_t, DecodeByTable<kFormat>, EncodeByte<kFormat>>;

using HalfCodec = NarrowCodec<uint16_t, DecodeHalf, EncodeHalf>;

/// Memory may hold any byte for a bool; only 0 is false.
struct BoolCodec {
  using Value = bool;
  static constexpr int kItemSize = 1;
  static bool Load(const std::byte* from) { return *from != std::byte{0}; }
  static void Store(bool value, std::byte* to) {
    *to = value ? std::byte{1} : std::byte{0};
  }
};

template <typename Real>
struct ComplexCodec {
  using Value = std::complex<typename Real::Value>;
  static constexpr int kItemSize = 2 * Real::kItemSize;
  static Value Load(const std::byte* from) {
    return {Real::Load(from), Real::Load(from + Real::kItemSize)};
  }
  static void Store(Value value, std::byte* to) {
    Real::Store(value.real(), to);
    Real::Store(value.imag(), to + Real::kItemSize);
  }
};

template <DType dtype>
struct ElementCodec;

/// Types whose NaN torch turns into the integer 0, not into the least integer:
/// its decoder returns that NaN as a constant, which the compiler converts.
template <DType dtype>
inline constexpr bool kNanIsIntegerZero =
    dtype == DType::kFloat8E4M3FNUZ || dtype == DType::kFloat8E5M2FNUZ ||
    dtype == DType::kFloat8E8M0FNU;

template <>
struct ElementCodec<DType::kFloat32> : PlainCodec<float> {};
template <>
struct ElementCodec<DType::kFloat64> : PlainCodec<double> {};
template <>
struct ElementCodec<DType::kFloat16> : HalfCodec {};
template <>
struct ElementCodec<DType::kBFloat16>
    : NarrowCodec<uint16_t, DecodeBFloat16, EncodeBFloat16> {};
template <>
struct ElementCodec<DType::kInt8> : PlainCodec<int8_t> {};
template <>
struct ElementCodec<DType::kUInt8> : PlainCodec<uint8_t> {};
template <>
struct ElementCodec<DType::kInt16> : PlainCodec<int16_t> {};
template <>
struct ElementCodec<DType::kInt32> : PlainCodec<int32_t> {};
template <>
struct ElementCodec<DType::kInt64> : PlainCodec<int64_t> {};
template <>
struct ElementCodec<DType::kBool> : BoolCodec {};
template <>
struct ElementCodec<DType::kComplex32> : ComplexCodec<HalfCodec> {};
template <>
struct ElementCodec<DType::kComplex64> : ComplexCodec<PlainCodec<float>> {};
template <>
struct ElementCodec<DType::kComplex128> : ComplexCodec<PlainCodec<double>> {};
template <>
struct ElementCodec<DType::kUInt16> : PlainCodec<uint16_t> {};
template <>
struct ElementCodec<DType::kUInt32> : PlainCodec<uint32_t> {};
template <>
struct ElementCodec<DType::kUInt64> : PlainCodec<uint64_t> {};
template <>
struct ElementCodec<DType::kFloat8E4M3FN> : ByteCodec<kE4M3FNFormat> {};
template <>
struct ElementCodec<DType::kFloat8E5M2> : ByteCodec<kE5M2Format> {};
template <>
struct ElementCodec<DType::kFloat8E4M3FNUZ> : ByteCodec<kE4M3FNUZFormat> {};
template <>
struct ElementCodec<DType::kFloat8E5M2FNUZ> : ByteCodec<kE5M2FNUZFormat> {};
template <>
struct ElementCodec<DType::kFloat8E8M0FNU>
    : NarrowCodec<uint8_t, DecodeE8M0, EncodeE8M0> {};

template <typename T>
inline constexpr bool kIsComplex = false;
template <typename T>
inline constexpr bool kIsComplex<std::complex<T>> = true;

/// What the x86-64 instruction cvttsd2si gives: `value` truncated, or the
/// least `Int` if that does not fit or is NaN.
template <typename Int, typename Float>
Int Truncate(Float value) {
  constexpr Int kLeast = std::numeric_limits<Int>::min();
  constexpr auto kLow = static_cast<Float>(kLeast);
  // -kLow is max + 1, exactly. What rounds towards zero to kLeast from below
  // gives kLeast either way.
  if (!(value >= kLow && value < -kLow)) return kLeast;
  return static_cast<Int>(value);
}

/// A float as an integer, as gcc compiles it for x86-64 (and torch relies on).
template <typename Int, typename Float>
Int FloatToInteger(Float value) {
  if constexpr (std::is_same_v<Int, uint64_t>) {
    constexpr Float kTwo63 = 9223372036854775808.0;
    if (value >= kTwo63) {
      return static_cast<uint64_t>(Truncate<int64_t>(value - kTwo63)) ^
             (uint64_t{1} << 63);
    }
    return static_cast<uint64_t>(Truncate<int64_t>(value));
  } else if constexpr (std::is_same_v<Int, uint8_t> || sizeof(Int) * 8 == 64 ||
                       std::is_same_v<Int, uint32_t>) {
    return static_cast<Int>(Truncate<int64_t>(value));
  } else {
    return static_cast<Int>(Truncate<int32_t>(value));
  }
}

/// The value conversion between two element types.
template <typename To, typename From>
To ConvertElement(From value) {
  if constexpr (kIsComplex<To> && kIsComplex<From>) {
    using Part = typename To::value_type;
    return {static_cast<Part>(value.real()), static_cast<Part>(value.imag())};
  } else if constexpr (std::is_same_v<To, bool> && kIsComplex<From>) {
    return value.real() != 0 || value.imag() != 0;
  } else if constexpr (kIsComplex<From>) {
    return ConvertElement<To>(value.real());
  } else if constexpr (kIsComplex<To>) {
    return {ConvertElement<typename To::value_type>(value), 0};
  } else if constexpr (std::is_same_v<To, bool>) {
    return value != From{0};
  } else if constexpr (std::is_integral_v<To> &&
                       std::is_floating_point_v<From>) {
    return FloatToInteger<To>(value);
  } else {
    return static_cast<To>(value);
  }
}

}  // namespace dcp

#endif  // DCP_BASE_ELEMENT_CODEC_H_
