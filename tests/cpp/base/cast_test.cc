#include "base/cast.h"

#include <catch2/catch.hpp>
#include <cmath>
#include <cstring>
#include <fstream>
#include <iterator>
#include <map>
#include <optional>
#include <set>
#include <sstream>
#include <vector>

#include "base/checksum.h"
#include "base/wire.h"

namespace dcp {
namespace {

using Bytes = std::vector<std::byte>;
using enum DType;

Bytes Cast(DType from, const Bytes& src, DType to) {
  const auto count = static_cast<int64_t>(src.size()) / ItemSize(from);
  Bytes dst(static_cast<size_t>(count * ItemSize(to)));
  CastElements(from, src.data(), to, dst.data(), count);
  return dst;
}

bool IsNumeric(DType dtype) {
  const DTypeKind kind = GetDTypeInfo(dtype).kind;
  return kind != DTypeKind::kBits && kind != DTypeKind::kQuantized;
}

std::vector<DType> NumericDTypes() {
  std::vector<DType> dtypes;
  for (const DTypeInfo& info : AllDTypes()) {
    if (IsNumeric(info.dtype)) dtypes.push_back(info.dtype);
  }
  return dtypes;
}

/// All codes of an 8- or 16-bit type (of bool: false and true).
Bytes AllCodes(DType dtype) {
  const auto size = static_cast<size_t>(ItemSize(dtype));
  const size_t count = dtype == kBool ? 2 : size_t{1} << (8 * size);
  Bytes codes(count * size);
  for (size_t i = 0; i < count; ++i) {
    std::memcpy(&codes[i * size], &i, size);
  }
  return codes;
}

/// How a real type, or the parts of a complex one, marks its NaNs.
struct NanRule {
  uint64_t mask;
  uint64_t largest;  ///< magnitude that is not a NaN
  uint64_t nan;
};

std::optional<NanRule> NansOf(DType dtype) {
  switch (dtype) {
    case kFloat64:
    case kComplex128:
      return NanRule{~uint64_t{0} >> 1, uint64_t{0x7ff} << 52,
                     uint64_t{0x7ff8} << 48};
    case kFloat32:
    case kComplex64:
      return NanRule{0x7fffffff, 0x7f800000, 0x7fc00000};
    case kFloat16:
    case kComplex32:
      return NanRule{0x7fff, 0x7c00, 0x7e00};
    case kBFloat16:
      return NanRule{0x7fff, 0x7f80, 0x7fc0};
    case kFloat8E4M3FN:
      return NanRule{0x7f, 0x7e, 0x7f};
    case kFloat8E5M2:
      return NanRule{0x7f, 0x7c, 0x7f};
    default:
      return std::nullopt;
  }
}

size_t PartSize(DType dtype) {
  const bool is_complex = GetDTypeInfo(dtype).kind == DTypeKind::kComplex;
  return static_cast<size_t>(ItemSize(dtype)) / (is_complex ? 2 : 1);
}

/// Replaces every NaN by the same one, as make_cast_golden.py does.
void UnifyNans(DType dtype, Bytes* data) {
  const auto rule = NansOf(dtype);
  if (!rule) return;
  const size_t size = PartSize(dtype);
  for (size_t at = 0; at < data->size(); at += size) {
    uint64_t bits = 0;
    std::memcpy(&bits, data->data() + at, size);
    if ((bits & rule->mask) <= rule->largest) continue;
    std::memcpy(data->data() + at, &rule->nan, size);
  }
}

uint64_t SplitMix64(uint64_t index) {
  uint64_t z = (index + 1) * 0x9E3779B97F4A7C15;
  z = (z ^ (z >> 30)) * 0xBF58476D1CE4E5B9;
  z = (z ^ (z >> 27)) * 0x94D049BB133111EB;
  return z ^ (z >> 31);
}

/// pseudo_random() of make_cast_golden.py.
Bytes PseudoRandom(DType dtype, size_t count) {
  const size_t size = PartSize(dtype);
  Bytes data(count * static_cast<size_t>(ItemSize(dtype)));
  for (size_t i = 0; i < data.size() / size; ++i) {
    uint64_t word = SplitMix64(i);
    const uint64_t spread = (word >> 32) % 140;
    if (GetDTypeInfo(dtype).kind == DTypeKind::kInteger) {
      word = static_cast<uint64_t>(static_cast<int64_t>(word) >> (word & 63));
    } else if (size == 8 && i % 2 == 1) {
      word = (word & 0x800fffffffffffff) | ((1023 - 70 + spread) << 52);
    } else if (size == 4 && i % 2 == 1) {
      word = (word & 0x807fffff) | ((127 - 70 + spread) << 23);
    }
    std::memcpy(&data[i * size], &word, size);
  }
  return data;
}

Bytes TakeBytes(WireReader* in, size_t nbytes) {
  Bytes data(nbytes);
  for (std::byte& b : data) b = std::byte{in->U8()};
  return data;
}

std::string PairName(DType from, DType to) {
  return std::string(DTypeName(from)) + " -> " + std::string(DTypeName(to));
}

/// The bits of element `i`, most significant first.
std::string Hex(DType dtype, const Bytes& elements, size_t i) {
  const auto size = static_cast<size_t>(ItemSize(dtype));
  std::ostringstream text;
  for (size_t b = size; b-- > 0;) {
    text << std::hex << std::to_integer<int>(elements[i * size + b]) << ' ';
  }
  return text.str();
}

void CheckTable(DType from, DType to, size_t count, WireReader* in) {
  const auto nbytes_of = [&](DType dtype) {
    return count * static_cast<size_t>(ItemSize(dtype));
  };
  const Bytes source = TakeBytes(in, nbytes_of(from));
  const Bytes expected = TakeBytes(in, nbytes_of(to));
  Bytes actual = Cast(from, source, to);
  UnifyNans(to, &actual);
  for (size_t i = 0; i < count; ++i) {
    INFO(PairName(from, to) << ", source bits " << Hex(from, source, i));
    REQUIRE(Hex(to, actual, i) == Hex(to, expected, i));
  }
}

void CheckHashed(DType from, DType to, size_t count, WireReader* in) {
  INFO(PairName(from, to));
  const Bytes source =
      ItemSize(from) <= 2 ? AllCodes(from) : PseudoRandom(from, count);
  REQUIRE(Crc32(0, source) == in->U32());
  Bytes actual = Cast(from, source, to);
  UnifyNans(to, &actual);
  CHECK(Crc32(0, actual) == in->U32());
}

TEST_CASE("casts give what torch's copy_ gives", "[cast]") {
  std::ifstream file(DCP_GOLDEN_DIR "/cast-torch-2.13.0.bin", std::ios::binary);
  const std::string golden{std::istreambuf_iterator<char>(file), {}};
  REQUIRE(golden.starts_with("DCPCAST1"));
  WireReader in(std::string_view(golden).substr(8), "golden casts");
  int records = 0;
  for (; in.remaining() > 0; ++records) {
    const uint8_t kind = in.U8();
    const auto from = DTypeFromCode(in.U8());
    const auto to = DTypeFromCode(in.U8());
    const uint32_t count = in.U32();
    REQUIRE((from && to && in.ok()));
    if (kind == 0) {
      CheckTable(*from, *to, count, &in);
    } else {
      CheckHashed(*from, *to, count, &in);
    }
    REQUIRE(in.ok());
  }
  // 8 types of 1 byte as tables, 4 of 2 as hashes, 9 wider ones as both.
  CHECK(records == 20 * (8 + 4 + 9 * 2));
}

TEST_CASE("casts work at any alignment and length", "[cast]") {
  for (DType from : NumericDTypes()) {
    for (DType to : {kFloat32, kFloat16, kBFloat16, kInt8, kFloat64}) {
      const Bytes source = PseudoRandom(from, 100);
      const Bytes whole = Cast(from, source, to);
      const auto from_size = static_cast<size_t>(ItemSize(from));
      const auto to_size = static_cast<size_t>(ItemSize(to));
      for (size_t count = 0; count <= 70; ++count) {
        Bytes src(1 + count * from_size);
        std::memcpy(src.data() + 1, source.data(), count * from_size);
        Bytes dst(3 + count * to_size + 1, std::byte{0x5a});
        CastElements(from, src.data() + 1, to, dst.data() + 3,
                     static_cast<int64_t>(count));
        INFO(PairName(from, to) << " count " << count);
        REQUIRE(std::memcmp(dst.data() + 3, whole.data(), count * to_size) ==
                0);
        REQUIRE(dst[2] == std::byte{0x5a});
        REQUIRE(dst.back() == std::byte{0x5a});
      }
    }
  }
}

TEST_CASE("a cast of one element equals that of many", "[cast]") {
  // Long arrays take vector instructions where there are any.
  for (DType from : {kFloat32, kFloat16}) {
    for (DType to : {kFloat32, kFloat16, kBFloat16}) {
      const Bytes source =
          ItemSize(from) == 2 ? AllCodes(from) : PseudoRandom(from, 65536);
      const Bytes whole = Cast(from, source, to);
      Bytes single(whole.size());
      for (int64_t i = 0; i < 65536; ++i) {
        CastElements(from, &source[static_cast<size_t>(i * ItemSize(from))], to,
                     &single[static_cast<size_t>(i * ItemSize(to))], 1);
      }
      CHECK(single == whole);
    }
  }
}

TEST_CASE("opaque and quantized types convert only to themselves", "[cast]") {
  for (const DTypeInfo& a : AllDTypes()) {
    for (const DTypeInfo& b : AllDTypes()) {
      const bool numeric = IsNumeric(a.dtype) && IsNumeric(b.dtype);
      CHECK(CanCast(a.dtype, b.dtype) == (numeric || a.dtype == b.dtype));
    }
  }
  CHECK(Cast(kQInt8, {std::byte{1}, std::byte{0xff}}, kQInt8) ==
        Bytes{std::byte{1}, std::byte{0xff}});
}

TEST_CASE("a bool in memory is true unless it is zero", "[cast]") {
  const Bytes odd{std::byte{0}, std::byte{1}, std::byte{2}, std::byte{0xff}};
  CHECK(Cast(kBool, odd, kInt8) ==
        Bytes{std::byte{0}, std::byte{1}, std::byte{1}, std::byte{1}});
}

/// Whether some code of the 8- or 16-bit type `from` has another value in `to`.
/// All values of both sides must be exact in complex128.
bool SomeValueChanges(DType from, DType to) {
  const Bytes codes = AllCodes(from);
  const Bytes before = Cast(from, codes, kComplex128);
  const Bytes after = Cast(to, Cast(from, codes, to), kComplex128);
  for (size_t at = 0; at < before.size(); at += sizeof(double)) {
    double a = 0;
    double b = 0;
    std::memcpy(&a, &before[at], sizeof(a));
    std::memcpy(&b, &after[at], sizeof(b));
    if (std::isnan(a) && std::isnan(b)) continue;
    if (a != b || std::signbit(a) != std::signbit(b)) return true;
  }
  return false;
}

TEST_CASE("a cast is lossy if and only if it changes a value", "[cast]") {
  for (DType from : NumericDTypes()) {
    if (ItemSize(from) > 2) continue;
    for (DType to : NumericDTypes()) {
      INFO(PairName(from, to));
      CHECK(IsLossyCast(from, to) == SomeValueChanges(from, to));
    }
  }
}

TEST_CASE("casts of wide types that lose nothing are known", "[cast]") {
  const std::map<DType, std::set<DType>> lossless = {
      {kFloat32, {kFloat32, kFloat64, kComplex64, kComplex128}},
      {kFloat64, {kFloat64, kComplex128}},
      {kInt32, {kInt32, kInt64, kFloat64, kComplex128}},
      {kUInt32, {kUInt32, kInt64, kUInt64, kFloat64, kComplex128}},
      {kInt64, {kInt64}},
      {kUInt64, {kUInt64}},
      {kComplex32, {kComplex32, kComplex64, kComplex128}},
      {kComplex64, {kComplex64, kComplex128}},
      {kComplex128, {kComplex128}},
  };
  for (const auto& [from, kept_by] : lossless) {
    for (DType to : NumericDTypes()) {
      INFO(PairName(from, to));
      CHECK(IsLossyCast(from, to) == !kept_by.contains(to));
    }
  }
}

}  // namespace
}  // namespace dcp
