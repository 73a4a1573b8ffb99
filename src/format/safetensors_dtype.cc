#include "format/safetensors_dtype.h"

#include <array>
#include <cstddef>

namespace dcp {
namespace {

using enum SafetensorsDType;
using Info = SafetensorsDTypeInfo;

constexpr std::array kTable = {
    Info{kBool, "BOOL", 8, DType::kBool},
    Info{kF4, "F4", 4, DType::kFloat4E2M1FNX2},
    Info{kF6E2M3, "F6_E2M3", 6, std::nullopt},
    Info{kF6E3M2, "F6_E3M2", 6, std::nullopt},
    Info{kU8, "U8", 8, DType::kUInt8},
    Info{kI8, "I8", 8, DType::kInt8},
    Info{kF8E5M2, "F8_E5M2", 8, DType::kFloat8E5M2},
    Info{kF8E4M3, "F8_E4M3", 8, DType::kFloat8E4M3FN},
    Info{kF8E8M0, "F8_E8M0", 8, DType::kFloat8E8M0FNU},
    Info{kF8E4M3FNUZ, "F8_E4M3FNUZ", 8, DType::kFloat8E4M3FNUZ},
    Info{kF8E5M2FNUZ, "F8_E5M2FNUZ", 8, DType::kFloat8E5M2FNUZ},
    Info{kI16, "I16", 16, DType::kInt16},
    Info{kU16, "U16", 16, DType::kUInt16},
    Info{kF16, "F16", 16, DType::kFloat16},
    Info{kBF16, "BF16", 16, DType::kBFloat16},
    Info{kI32, "I32", 32, DType::kInt32},
    Info{kU32, "U32", 32, DType::kUInt32},
    Info{kF32, "F32", 32, DType::kFloat32},
    Info{kC64, "C64", 64, DType::kComplex64},
    Info{kF64, "F64", 64, DType::kFloat64},
    Info{kI64, "I64", 64, DType::kInt64},
    Info{kU64, "U64", 64, DType::kUInt64},
};

constexpr bool IsInOrder() {
  for (size_t i = 0; i < kTable.size(); ++i) {
    if (static_cast<size_t>(kTable[i].dtype) != i) return false;
  }
  return true;
}
static_assert(IsInOrder(), "kTable is indexed by type");

}  // namespace

const SafetensorsDTypeInfo& GetSafetensorsDTypeInfo(SafetensorsDType dtype) {
  return kTable[static_cast<size_t>(dtype)];
}

std::span<const SafetensorsDTypeInfo> AllSafetensorsDTypes() { return kTable; }

std::optional<SafetensorsDType> ParseSafetensorsDType(std::string_view name) {
  for (const Info& info : kTable) {
    if (info.name == name) return info.dtype;
  }
  return std::nullopt;
}

std::optional<SafetensorsDType> SafetensorsDTypeOf(DType dtype) {
  for (const Info& info : kTable) {
    if (info.torch == dtype) return info.dtype;
  }
  return std::nullopt;
}

std::optional<int64_t> SafetensorsNbytes(SafetensorsDType dtype,
                                         int64_t numel) {
  const int64_t nbits = GetSafetensorsDTypeInfo(dtype).nbits;
  // Eight elements are `nbits` bytes.
  const int64_t rest_nbits = numel % 8 * nbits;
  int64_t nbytes = 0;
  if (rest_nbits % 8 != 0 ||
      __builtin_mul_overflow(numel / 8, nbits, &nbytes) ||
      __builtin_add_overflow(nbytes, rest_nbits / 8, &nbytes)) {
    return std::nullopt;
  }
  return nbytes;
}

std::optional<Dims> TorchShapeOf(SafetensorsDType dtype, const Dims& shape) {
  if (dtype != kF4) return shape;
  if (shape.empty() || shape[shape.size() - 1] % 2 != 0) return std::nullopt;
  Dims torch_shape = shape;
  torch_shape[shape.size() - 1] /= 2;
  return torch_shape;
}

std::optional<Dims> SafetensorsShapeOf(SafetensorsDType dtype,
                                       const Dims& torch_shape) {
  if (dtype != kF4) return torch_shape;
  if (torch_shape.empty()) return std::nullopt;
  Dims shape = torch_shape;
  int64_t& last = shape[shape.size() - 1];
  if (__builtin_mul_overflow(last, int64_t{2}, &last)) return std::nullopt;
  return shape;
}

}  // namespace dcp
