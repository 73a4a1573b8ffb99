#include "format/safetensors_dtype.h"

#include <catch2/catch.hpp>
#include <cstdint>
#include <limits>
#include <set>
#include <string>

namespace dcp {
namespace {

using enum SafetensorsDType;

constexpr int64_t kMax = std::numeric_limits<int64_t>::max();

TEST_CASE("all types of safetensors 0.8 are known, in its order",
          "[safetensors]") {
  std::string names;
  for (const SafetensorsDTypeInfo& info : AllSafetensorsDTypes()) {
    names += std::string(info.name) + " ";
    CHECK(ParseSafetensorsDType(info.name) == info.dtype);
    CHECK(&GetSafetensorsDTypeInfo(info.dtype) == &info);
  }
  CHECK(names ==
        "BOOL F4 F6_E2M3 F6_E3M2 U8 I8 F8_E5M2 F8_E4M3 F8_E8M0 F8_E4M3FNUZ "
        "F8_E5M2FNUZ I16 U16 F16 BF16 I32 U32 F32 C64 F64 I64 U64 ");
  for (const char* name : {"", "f32", "F32 ", "F128", "C128", "C32", "FLOAT"}) {
    CHECK(ParseSafetensorsDType(name) == std::nullopt);
  }
}

TEST_CASE("torch's types have one of safetensors each, or none",
          "[safetensors]") {
  std::set<std::string> without;
  std::set<SafetensorsDType> used;
  for (const DTypeInfo& info : AllDTypes()) {
    const auto dtype = SafetensorsDTypeOf(info.dtype);
    if (!dtype) {
      without.emplace(info.name);
      continue;
    }
    CHECK(used.insert(*dtype).second);
    CHECK(GetSafetensorsDTypeInfo(*dtype).torch == info.dtype);
  }
  CHECK(without == std::set<std::string>{"complex32", "complex128", "bits1x8",
                                         "bits2x4", "bits4x2", "bits8",
                                         "bits16", "qint8", "quint8", "qint32",
                                         "quint4x2", "quint2x4"});
  CHECK(used.size() == AllSafetensorsDTypes().size() - 2);
  CHECK_FALSE(GetSafetensorsDTypeInfo(kF6E2M3).torch);
  CHECK_FALSE(GetSafetensorsDTypeInfo(kF6E3M2).torch);
}

TEST_CASE("a type has torch's name and size", "[safetensors]") {
  CHECK(SafetensorsDTypeOf(DType::kFloat8E4M3FN) == kF8E4M3);
  CHECK(SafetensorsDTypeOf(DType::kFloat8E8M0FNU) == kF8E8M0);
  CHECK(SafetensorsDTypeOf(DType::kFloat4E2M1FNX2) == kF4);
  CHECK(SafetensorsDTypeOf(DType::kComplex64) == kC64);
  CHECK(SafetensorsDTypeOf(DType::kBFloat16) == kBF16);
  for (const SafetensorsDTypeInfo& info : AllSafetensorsDTypes()) {
    if (!info.torch || info.dtype == kF4) continue;
    CHECK(info.nbits == 8 * ItemSize(*info.torch));
  }
}

TEST_CASE("the bytes of packed types are counted in bits", "[safetensors]") {
  CHECK(SafetensorsNbytes(kF4, 4) == 2);
  CHECK(SafetensorsNbytes(kF4, 3) == std::nullopt);
  CHECK(SafetensorsNbytes(kF6E2M3, 4) == 3);
  CHECK(SafetensorsNbytes(kF6E2M3, 12) == 9);
  CHECK(SafetensorsNbytes(kF6E3M2, 2) == std::nullopt);
  CHECK(SafetensorsNbytes(kF32, 3) == 12);
  CHECK(SafetensorsNbytes(kBool, 0) == 0);
}

TEST_CASE("sizes beyond int64 are no sizes", "[safetensors]") {
  CHECK(SafetensorsNbytes(kU8, kMax) == kMax);
  CHECK(SafetensorsNbytes(kF4, kMax - 1) == kMax / 2);
  CHECK(SafetensorsNbytes(kI16, kMax / 2) == kMax - 1);
  CHECK(SafetensorsNbytes(kI16, kMax / 2 + 1) == std::nullopt);
  CHECK(SafetensorsNbytes(kU64, int64_t{1} << 60) == std::nullopt);
}

TEST_CASE("F4 has twice torch's last dimension", "[safetensors]") {
  CHECK(TorchShapeOf(kF4, {3, 8}) == Dims{3, 4});
  CHECK(TorchShapeOf(kF4, {4, 0}) == Dims{4, 0});
  CHECK(TorchShapeOf(kF4, {4, 3}) == std::nullopt);
  CHECK(TorchShapeOf(kF4, {}) == std::nullopt);
  CHECK(TorchShapeOf(kU8, {4, 3}) == Dims{4, 3});
  CHECK(SafetensorsShapeOf(kF4, {3, 4}) == Dims{3, 8});
  CHECK(SafetensorsShapeOf(kF4, {}) == std::nullopt);
  CHECK(SafetensorsShapeOf(kF4, {kMax}) == std::nullopt);
  CHECK(SafetensorsShapeOf(kF32, {}) == Dims{});
}

}  // namespace
}  // namespace dcp
