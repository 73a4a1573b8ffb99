// The element types of safetensors, and torch's for them.

#ifndef DCP_FORMAT_SAFETENSORS_DTYPE_H_
#define DCP_FORMAT_SAFETENSORS_DTYPE_H_

#include <cstdint>
#include <optional>
#include <span>
#include <string_view>

#include "dcp/dims.h"
#include "dcp/dtype.h"

namespace dcp {

/// In the order of safetensors 0.8 tensor.rs Dtype: its writer puts the types
/// that come last here first into the file, so that all data is aligned.
enum class SafetensorsDType : uint8_t {
  kBool,
  kF4,
  kF6E2M3,
  kF6E3M2,
  kU8,
  kI8,
  kF8E5M2,
  kF8E4M3,
  kF8E8M0,
  kF8E4M3FNUZ,
  kF8E5M2FNUZ,
  kI16,
  kU16,
  kF16,
  kBF16,
  kI32,
  kU32,
  kF32,
  kC64,
  kF64,
  kI64,
  kU64,
};

struct SafetensorsDTypeInfo {
  SafetensorsDType dtype;
  std::string_view name;  ///< in headers, e.g. "BF16"
  int nbits;              ///< per element of the header's shape
  /// nullopt: torch has no such type.
  std::optional<DType> torch;
};

const SafetensorsDTypeInfo& GetSafetensorsDTypeInfo(SafetensorsDType dtype);

/// All types, in their order.
std::span<const SafetensorsDTypeInfo> AllSafetensorsDTypes();

/// The type with a header's `name`, nullopt if there is none.
std::optional<SafetensorsDType> ParseSafetensorsDType(std::string_view name);

/// How tensors of a torch type are stored; nullopt for those that safetensors
/// has no type for: complex32, complex128, quantized ones, bits*.
std::optional<SafetensorsDType> SafetensorsDTypeOf(DType dtype);

/// Bytes of `numel` elements; nullopt if these are no whole bytes, or more than
/// int64 can count.
std::optional<int64_t> SafetensorsNbytes(SafetensorsDType dtype, int64_t numel);

/// Headers count F4's elements, torch its bytes of two, along the last
/// dimension. For all other types both shapes are the same.
///
/// torch's shape for a header's; nullopt if F4 has no even last dimension.
std::optional<Dims> TorchShapeOf(SafetensorsDType dtype, const Dims& shape);
/// A header's shape for torch's; nullopt if F4 has no dimension, or the last
/// one cannot be doubled.
std::optional<Dims> SafetensorsShapeOf(SafetensorsDType dtype,
                                       const Dims& torch_shape);

}  // namespace dcp

#endif  // DCP_FORMAT_SAFETENSORS_DTYPE_H_
