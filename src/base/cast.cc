#include "base/cast.h"

#include <algorithm>
#include <array>
#include <cstring>
#include <utility>

#include "base/element_codec.h"
#include "base/vector_cast.h"

namespace dcp {
namespace {

// The types that convert to one another have the codes 1 ... kNumericCount.
constexpr size_t kNumericCount = 21;
static_assert(static_cast<size_t>(DType::kFloat8E8M0FNU) == kNumericCount);
static_assert(static_cast<size_t>(DType::kFloat32) == 1);

size_t Position(DType dtype) { return static_cast<size_t>(dtype) - 1; }
bool IsNumeric(DType dtype) { return Position(dtype) < kNumericCount; }

template <DType from, DType to>
void CastLoop(const std::byte* src, std::byte* dst, int64_t count) {
  using From = ElementCodec<from>;
  using To = ElementCodec<to>;
  using ToValue = typename To::Value;
  for (int64_t i = 0; i < count; ++i) {
    typename From::Value value = From::Load(src + i * From::kItemSize);
    if constexpr (kNanIsIntegerZero<from> && std::is_integral_v<ToValue> &&
                  !std::is_same_v<ToValue, bool>) {
      if (value != value) value = 0;
    }
    To::Store(ConvertElement<ToValue>(value), dst + i * To::kItemSize);
  }
}

template <size_t from, size_t... to>
constexpr std::array<CastFunction*, kNumericCount> MakeRow(
    std::index_sequence<to...>) {
  return {
      CastLoop<static_cast<DType>(from + 1), static_cast<DType>(to + 1)>...};
}

template <size_t... from>
constexpr std::array<std::array<CastFunction*, kNumericCount>, kNumericCount>
MakeTable(std::index_sequence<from...> all) {
  return {MakeRow<from>(all)...};
}

constexpr auto kCastTable =
    MakeTable(std::make_index_sequence<kNumericCount>());

void CastDirectly(DType from, const std::byte* src, DType to, std::byte* dst,
                  int64_t count) {
  CastFunction* function = FindVectorCast(from, to);
  if (function == nullptr) {
    function = kCastTable[Position(from)][Position(to)];
  }
  function(src, dst, count);
}

/// For casts from and to float16, which go through float32 by definition but
/// are slow one element at a time.
void CastThroughFloat32(DType from, const std::byte* src, DType to,
                        std::byte* dst, int64_t count) {
  using enum DType;
  if (from == kFloat32 || to == kFloat32) {
    CastDirectly(from, src, to, dst, count);
    return;
  }
  constexpr int64_t kBlock = 1024;
  std::array<float, kBlock> block;
  auto* middle = reinterpret_cast<std::byte*>(block.data());
  for (int64_t done = 0; done < count; done += kBlock) {
    const int64_t n = std::min(kBlock, count - done);
    CastDirectly(from, src + done * ItemSize(from), kFloat32, middle, n);
    CastDirectly(kFloat32, middle, to, dst + done * ItemSize(to), n);
  }
}

/// What values a type holds: (-1)^s * m * 2^e with m < 2^precision.
struct ValueSet {
  int precision;     ///< bits
  int min_exponent;  ///< least e of a nonzero value
  int max_exponent;  ///< largest k with a finite value >= 2^k
  bool has_sign = true;
  bool has_infinity = true;
  bool has_nan = true;
  bool has_zero = true;
  bool has_negative_zero = true;
};

/// Floating-point types; complex ones by their parts.
constexpr std::pair<DType, ValueSet> kFloatValues[] = {
    {DType::kFloat64,
     {.precision = 53, .min_exponent = -1074, .max_exponent = 1023}},
    {DType::kComplex128,
     {.precision = 53, .min_exponent = -1074, .max_exponent = 1023}},
    {DType::kFloat32,
     {.precision = 24, .min_exponent = -149, .max_exponent = 127}},
    {DType::kComplex64,
     {.precision = 24, .min_exponent = -149, .max_exponent = 127}},
    {DType::kFloat16,
     {.precision = 11, .min_exponent = -24, .max_exponent = 15}},
    {DType::kComplex32,
     {.precision = 11, .min_exponent = -24, .max_exponent = 15}},
    {DType::kBFloat16,
     {.precision = 8, .min_exponent = -133, .max_exponent = 127}},
    {DType::kFloat8E5M2,
     {.precision = 3, .min_exponent = -16, .max_exponent = 15}},
    {DType::kFloat8E4M3FN,
     {.precision = 4,
      .min_exponent = -9,
      .max_exponent = 8,
      .has_infinity = false}},
    {DType::kFloat8E4M3FNUZ,
     {.precision = 4,
      .min_exponent = -10,
      .max_exponent = 7,
      .has_infinity = false,
      .has_negative_zero = false}},
    {DType::kFloat8E5M2FNUZ,
     {.precision = 3,
      .min_exponent = -17,
      .max_exponent = 15,
      .has_infinity = false,
      .has_negative_zero = false}},
    {DType::kFloat8E8M0FNU,
     {.precision = 1,
      .min_exponent = -127,
      .max_exponent = 127,
      .has_sign = false,
      .has_infinity = false,
      .has_zero = false,
      .has_negative_zero = false}},
};

constexpr ValueSet Integers(int digits, bool has_sign) {
  return {.precision = digits,
          .min_exponent = 0,
          .max_exponent = has_sign ? digits : digits - 1,
          .has_sign = has_sign,
          .has_infinity = false,
          .has_nan = false,
          .has_negative_zero = false};
}

ValueSet ValuesOf(DType dtype) {
  using enum DType;
  for (const auto& [type, values] : kFloatValues) {
    if (type == dtype) return values;
  }
  if (dtype == kBool) return Integers(1, false);
  const int bits = 8 * ItemSize(dtype);
  const bool has_sign =
      dtype == kInt8 || dtype == kInt16 || dtype == kInt32 || dtype == kInt64;
  return Integers(has_sign ? bits - 1 : bits, has_sign);
}

}  // namespace

bool CanCast(DType from, DType to) {
  return from == to || (IsNumeric(from) && IsNumeric(to));
}

void CastElements(DType from, const std::byte* src, DType to, std::byte* dst,
                  int64_t count) {
  if (count == 0) return;
  if (from == to) {
    std::memcpy(dst, src, static_cast<size_t>(count * ItemSize(from)));
    return;
  }
  if (to == DType::kFloat16 || from == DType::kFloat16) {
    CastThroughFloat32(from, src, to, dst, count);
  } else {
    CastDirectly(from, src, to, dst, count);
  }
}

bool IsLossyCast(DType from, DType to) {
  if (from == to) return false;
  const bool was_complex = GetDTypeInfo(from).kind == DTypeKind::kComplex;
  const bool is_complex = GetDTypeInfo(to).kind == DTypeKind::kComplex;
  if (was_complex && !is_complex) return true;
  const ValueSet a = ValuesOf(from);
  const ValueSet b = ValuesOf(to);
  return a.precision > b.precision || a.min_exponent < b.min_exponent ||
         a.max_exponent > b.max_exponent || (a.has_sign && !b.has_sign) ||
         (a.has_infinity && !b.has_infinity) || (a.has_nan && !b.has_nan) ||
         (a.has_zero && !b.has_zero) ||
         (a.has_negative_zero && !b.has_negative_zero);
}

}  // namespace dcp
