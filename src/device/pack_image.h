// The packing kernel (pack.cu) as nvcc compiled it.

#ifndef DCP_DEVICE_PACK_IMAGE_H_
#define DCP_DEVICE_PACK_IMAGE_H_

namespace dcp {

/// What cuModuleLoadData takes; null if no CUDA toolkit was found at build
/// time.
const void* PackImage();

}  // namespace dcp

#endif  // DCP_DEVICE_PACK_IMAGE_H_
