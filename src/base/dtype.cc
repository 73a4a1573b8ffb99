#include "dcp/dtype.h"

#include <array>

namespace dcp {
namespace {

using enum DType;
using Kind = DTypeKind;

// Storage classes: torch 2.13 torch/storage.py _dtype_to_storage_type_map;
// what it lacks is saved as UntypedStorage (_utils._rebuild_tensor_v3).
constexpr std::array kTable = {
    DTypeInfo{kFloat32, "float32", 4, Kind::kFloat, "FloatStorage"},
    DTypeInfo{kFloat64, "float64", 8, Kind::kFloat, "DoubleStorage"},
    DTypeInfo{kFloat16, "float16", 2, Kind::kFloat, "HalfStorage"},
    DTypeInfo{kBFloat16, "bfloat16", 2, Kind::kFloat, "BFloat16Storage"},
    DTypeInfo{kInt8, "int8", 1, Kind::kInteger, "CharStorage"},
    DTypeInfo{kUInt8, "uint8", 1, Kind::kInteger, "ByteStorage"},
    DTypeInfo{kInt16, "int16", 2, Kind::kInteger, "ShortStorage"},
    DTypeInfo{kInt32, "int32", 4, Kind::kInteger, "IntStorage"},
    DTypeInfo{kInt64, "int64", 8, Kind::kInteger, "LongStorage"},
    DTypeInfo{kBool, "bool", 1, Kind::kBool, "BoolStorage"},
    DTypeInfo{kComplex32, "complex32", 4, Kind::kComplex, ""},
    DTypeInfo{kComplex64, "complex64", 8, Kind::kComplex,
              "ComplexFloatStorage"},
    DTypeInfo{kComplex128, "complex128", 16, Kind::kComplex,
              "ComplexDoubleStorage"},
    DTypeInfo{kUInt16, "uint16", 2, Kind::kInteger, ""},
    DTypeInfo{kUInt32, "uint32", 4, Kind::kInteger, ""},
    DTypeInfo{kUInt64, "uint64", 8, Kind::kInteger, ""},
    DTypeInfo{kFloat8E4M3FN, "float8_e4m3fn", 1, Kind::kFloat, ""},
    DTypeInfo{kFloat8E5M2, "float8_e5m2", 1, Kind::kFloat, ""},
    DTypeInfo{kFloat8E4M3FNUZ, "float8_e4m3fnuz", 1, Kind::kFloat, ""},
    DTypeInfo{kFloat8E5M2FNUZ, "float8_e5m2fnuz", 1, Kind::kFloat, ""},
    DTypeInfo{kFloat8E8M0FNU, "float8_e8m0fnu", 1, Kind::kFloat, ""},
    DTypeInfo{kFloat4E2M1FNX2, "float4_e2m1fn_x2", 1, Kind::kBits, ""},
    DTypeInfo{kBits1x8, "bits1x8", 1, Kind::kBits, ""},
    DTypeInfo{kBits2x4, "bits2x4", 1, Kind::kBits, ""},
    DTypeInfo{kBits4x2, "bits4x2", 1, Kind::kBits, ""},
    DTypeInfo{kBits8, "bits8", 1, Kind::kBits, ""},
    DTypeInfo{kBits16, "bits16", 2, Kind::kBits, ""},
    DTypeInfo{kQInt8, "qint8", 1, Kind::kQuantized, "QInt8Storage"},
    DTypeInfo{kQUInt8, "quint8", 1, Kind::kQuantized, "QUInt8Storage"},
    DTypeInfo{kQInt32, "qint32", 4, Kind::kQuantized, "QInt32Storage"},
    DTypeInfo{kQUInt4x2, "quint4x2", 1, Kind::kQuantized, "QUInt4x2Storage"},
    DTypeInfo{kQUInt2x4, "quint2x4", 1, Kind::kQuantized, "QUInt2x4Storage"},
};

constexpr bool CodesAreDense() {
  for (size_t i = 0; i < kTable.size(); ++i) {
    if (static_cast<size_t>(kTable[i].dtype) != i + 1) return false;
  }
  return true;
}
static_assert(CodesAreDense(), "kTable is indexed by code - 1");

}  // namespace

const DTypeInfo& GetDTypeInfo(DType dtype) {
  return kTable[static_cast<size_t>(dtype) - 1];
}

std::span<const DTypeInfo> AllDTypes() { return kTable; }

std::optional<DType> ParseDType(std::string_view name) {
  for (const DTypeInfo& info : kTable) {
    if (info.name == name) return info.dtype;
  }
  return std::nullopt;
}

std::optional<DType> DTypeFromCode(uint8_t code) {
  if (code == 0 || code > kTable.size()) return std::nullopt;
  return static_cast<DType>(code);
}

}  // namespace dcp
