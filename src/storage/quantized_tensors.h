// Which tensors of a safetensors checkpoint are quantized, and how.

#ifndef DCP_STORAGE_QUANTIZED_TENSORS_H_
#define DCP_STORAGE_QUANTIZED_TENSORS_H_

#include <cstdint>
#include <map>
#include <string>
#include <string_view>

#include "dcp/hugging_face_storage.h"
#include "dcp/metadata.h"
#include "dcp/status.h"

namespace dcp {

/// How one tensor is stored.
struct QuantizedTensor {
  enum class Kind : uint8_t { kBlockScales = 1, kMxfp4 = 2 };
  Kind kind = Kind::kBlockScales;
  DType stored_dtype = DType::kFloat8E4M3FN;
  int64_t group_nbytes = 0;  ///< of kMxfp4: bytes that share a scale
  std::string scales;        ///< the key of the tensor that has them

  int64_t elements_per_byte() const { return kind == Kind::kMxfp4 ? 2 : 1; }
  bool operator==(const QuantizedTensor&) const = default;
};

/// By key.
using QuantizedTensors = std::map<std::string, QuantizedTensor, std::less<>>;

/// Finds the quantized tensors: "x.weight" with "x.weight_scale_inv", and
/// "x_blocks" with "x_scales". In `metadata` they become what they are when
/// they have been read: of `options.target_dtype`, and of "x_blocks" [..., G,
/// B] a tensor [..., G * B * 2]. The scales stay what they are.
/// \error kDataLoss  scales of another shape than the tensor needs
/// \error kUnimplemented  a tensor in parts, or of a type that is no number
StatusOr<QuantizedTensors> FindQuantized(const DequantizeOptions& options,
                                         Metadata* metadata);

/// For CheckpointIndex::storage_data.
std::string SerializeQuantized(const QuantizedTensors& tensors);
/// \error kDataLoss  not what SerializeQuantized wrote
StatusOr<QuantizedTensors> ParseQuantized(std::string_view data);

}  // namespace dcp

#endif  // DCP_STORAGE_QUANTIZED_TENSORS_H_
