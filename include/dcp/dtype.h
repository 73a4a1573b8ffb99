// DType: the element types that torch stores in checkpoints.

#ifndef DCP_DTYPE_H_
#define DCP_DTYPE_H_

#include <cstdint>
#include <optional>
#include <span>
#include <string_view>

namespace dcp {

/// Element types, under torch's names. Values are stable: they are part of
/// dcp's own wire and sidecar formats.
enum class DType : uint8_t {
  kFloat32 = 1,
  kFloat64 = 2,
  kFloat16 = 3,
  kBFloat16 = 4,
  kInt8 = 5,
  kUInt8 = 6,
  kInt16 = 7,
  kInt32 = 8,
  kInt64 = 9,
  kBool = 10,
  kComplex32 = 11,
  kComplex64 = 12,
  kComplex128 = 13,
  kUInt16 = 14,
  kUInt32 = 15,
  kUInt64 = 16,
  kFloat8E4M3FN = 17,
  kFloat8E5M2 = 18,
  kFloat8E4M3FNUZ = 19,
  kFloat8E5M2FNUZ = 20,
  kFloat8E8M0FNU = 21,
  kFloat4E2M1FNX2 = 22,
  kBits1x8 = 23,
  kBits2x4 = 24,
  kBits4x2 = 25,
  kBits8 = 26,
  kBits16 = 27,
  kQInt8 = 28,
  kQUInt8 = 29,
  kQInt32 = 30,
  kQUInt4x2 = 31,
  kQUInt2x4 = 32,
};

enum class DTypeKind : uint8_t {
  kFloat,    ///< IEEE-like floating point, 8 bits and more
  kInteger,  ///< signed and unsigned
  kBool,
  kComplex,
  kBits,       ///< opaque: bits*, float4_e2m1fn_x2
  kQuantized,  ///< torch's q* types: scale and zero point travel with them
};

struct DTypeInfo {
  DType dtype;
  /// torch's name without "torch.", e.g. "bfloat16".
  std::string_view name;
  /// Bytes per element. Packed types count one byte (float4_e2m1fn_x2).
  int itemsize;
  DTypeKind kind;
  /// The class in `torch` that torch.save names for the storage, e.g.
  /// "BFloat16Storage"; empty for types that torch saves as UntypedStorage
  /// with an explicit dtype (torch 2.13 _utils._rebuild_tensor_v3).
  std::string_view storage_class;
};

/// Table entry of `dtype`. Never fails: DType values are checked where they
/// enter (ParseDType, DTypeFromCode).
const DTypeInfo& GetDTypeInfo(DType dtype);

/// All types, in the order of their codes.
std::span<const DTypeInfo> AllDTypes();

/// The type with torch's `name` ("float32"), nullopt if there is none.
std::optional<DType> ParseDType(std::string_view name);

/// The type whose enum value is `code`, nullopt if there is none.
std::optional<DType> DTypeFromCode(uint8_t code);

inline std::string_view DTypeName(DType dtype) {
  return GetDTypeInfo(dtype).name;
}
inline int ItemSize(DType dtype) { return GetDTypeInfo(dtype).itemsize; }

}  // namespace dcp

#endif  // DCP_DTYPE_H_
