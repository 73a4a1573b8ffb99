// TensorView: how a tensor crosses into libdcp, with no libtorch.

#ifndef DCP_TENSOR_VIEW_H_
#define DCP_TENSOR_VIEW_H_

#include <cstdint>

#include "dcp/dims.h"
#include "dcp/dtype.h"

namespace dcp {

enum class DeviceType : uint8_t { kCpu = 0, kCuda = 1 };

/// Where memory lives. `index` is the CUDA ordinal; 0 for the CPU.
struct Device {
  DeviceType type = DeviceType::kCpu;
  int index = 0;
  bool operator==(const Device&) const = default;
};

/// What torch's conjugate and negative bits leave to be done to elements.
enum class ElementOp : uint8_t {
  kNone,
  kConj,  ///< negates the imaginary parts
  kNeg,   ///< negates
};

/// Whether `op` is defined for elements of `dtype`: kConj for complex types,
/// kNeg for these and for floating point of 16 bits and more.
bool SupportsElementOp(ElementOp op, DType dtype);

/// A strided view of memory that somebody else owns.
///
/// The owner keeps `data` alive and, for a save, unchanged until the call that
/// was given the view returns. `strides` are in elements, may be 0 (expanded)
/// and may be negative. For a save the memory is only read.
struct TensorView {
  void* data = nullptr;  ///< first element; may be null if numel is 0
  DType dtype = DType::kFloat32;
  Dims sizes;
  Dims strides;
  Device device;
  /// The caller's CUDA stream (cudaStream_t) on which `data` is produced or
  /// consumed; 0 is the default stream. Ignored for CPU memory.
  uintptr_t stream = 0;
  /// Applied as the elements are read, in a save of CPU memory by a writer that
  /// AppliesElementOps.
  ElementOp op = ElementOp::kNone;

  int64_t numel() const { return Numel(sizes); }
  int64_t nbytes() const { return numel() * ItemSize(dtype); }
  /// Row-major without gaps; dimensions of size 1 have any stride.
  bool is_contiguous() const;
};

/// A contiguous CPU view.
TensorView ContiguousView(void* data, DType dtype, Dims sizes);

/// The part `box` of `view` (offsets relative to the view).
TensorView Narrow(const TensorView& view, const Box& box);

}  // namespace dcp

#endif  // DCP_TENSOR_VIEW_H_
