// Copies from stored bytes to device memory.

#ifndef DCP_STORAGE_DEVICE_SCATTER_H_
#define DCP_STORAGE_DEVICE_SCATTER_H_

#include <cstdint>
#include <span>

#include "dcp/device_runtime.h"
#include "storage/tensor_sink.h"

namespace dcp {

/// As ScatterRange, for a destination on a device: one copy for each stretch
/// of elements that is contiguous both in the image and in the destination.
Status ScatterToDevice(const TensorPlace& place, const TensorPart& part,
                       int64_t begin, std::span<const std::byte> bytes,
                       DeviceRuntime& device);

}  // namespace dcp

#endif  // DCP_STORAGE_DEVICE_SCATTER_H_
