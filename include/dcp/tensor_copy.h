// CopyTensor: the element copy that every storage needs, and that none should
// have to write: any strides, any two dtypes that torch converts, host or
// device on either side.

#ifndef DCP_TENSOR_COPY_H_
#define DCP_TENSOR_COPY_H_

#include "dcp/device_runtime.h"
#include "dcp/status.h"
#include "dcp/tensor_view.h"

namespace dcp {

/// Sets every element of `destination` to that of `source`, converted to its
/// dtype as torch's copy_ does.
///
/// A storage calls it to turn a payload into the bytes that it stores (a
/// ContiguousView of its buffer as the destination), and stored bytes into a
/// loader's destination (a view of its buffer, narrowed, as the source). The
/// two must not overlap; `device` is asked only for views that are not on the
/// CPU. Concurrent calls may have disjoint destinations.
/// \error kInvalidArgument  sizes differ, or the dtypes do not convert
/// \error kUnimplemented    a source on a device that is not contiguous
Status CopyTensor(const TensorView& source, const TensorView& destination,
                  DeviceRuntime& device);

}  // namespace dcp

#endif  // DCP_TENSOR_COPY_H_
