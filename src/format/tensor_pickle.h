// data.pkl of a tensor item: what torch.save pickles for one tensor.

#ifndef DCP_FORMAT_TENSOR_PICKLE_H_
#define DCP_FORMAT_TENSOR_PICKLE_H_

#include <cstdint>
#include <string>
#include <string_view>

#include "dcp/dims.h"
#include "dcp/dtype.h"
#include "dcp/status.h"
#include "format/pickle_value.h"
#include "format/torch_item.h"

namespace dcp {

/// data.pkl of a contiguous tensor without gradient, byte for byte as torch
/// 2.13 writes it (protocol 2). `spec` is valid for LayoutTensorItem.
std::string RenderTensorPickle(const TensorItemSpec& spec);

/// What a data.pkl says.
struct TensorPickle {
  DType dtype = DType::kFloat32;
  Dims sizes;
  Dims strides;                ///< elements
  int64_t storage_offset = 0;  ///< elements
  int64_t storage_nbytes = 0;
  std::string storage_key;  ///< the record is data/<storage_key>
  bool conj = false;        ///< the values are the conjugates of the bytes
  bool neg = false;         ///< the values are the negatives of the bytes
  bool requires_grad = false;
  /// The object is something that only torch can rebuild (a quantized tensor,
  /// a subclass, no tensor at all); the other fields mean nothing.
  bool needs_torch = false;
};

/// Reads a data.pkl of at most 1 MiB; it is checked that the tensor lies
/// within its storage.
/// \error kDataLoss  no pickle, or one that torch does not write
StatusOr<TensorPickle> ParseTensorPickle(std::string_view pickle);

/// Whether a tensor may have more elements than its storage (expand()): a few
/// bytes can stand for any number.
enum class ExpandedTensors : uint8_t { kReject, kAccept };

/// The same of a value in a larger pickle.
StatusOr<TensorPickle> ParseTensorValue(const PickleGraph& graph, PickleId id,
                                        ExpandedTensors expanded);

/// Whether a value is a tensor, of whatever kind: a call of one of torch's
/// functions that rebuild tensors.
bool IsTensorValue(const PickleGraph& graph, PickleId id);

}  // namespace dcp

#endif  // DCP_FORMAT_TENSOR_PICKLE_H_
