// DeviceRuntime: the seam to GPU memory. libcuda is looked up at run time.

#ifndef DCP_DEVICE_RUNTIME_H_
#define DCP_DEVICE_RUNTIME_H_

#include <cstddef>
#include <memory>
#include <string>

#include "dcp/status.h"
#include "dcp/tensor_view.h"

namespace dcp {

/// Copies between host and device memory.
///
/// Thread-safe. A copy is ordered after the work queued so far on the caller's
/// stream (TensorView::stream) and is complete when the call returns.
class DeviceRuntime {
 public:
  virtual ~DeviceRuntime() = default;

  /// "cuda 13.0 (libcuda.so.1)", "none: libcuda.so.1 not found", ...
  virtual std::string Describe() const = 0;
  virtual bool available() const = 0;

  /// \error kFailedPrecondition  no such device, or no runtime
  virtual Status CopyToHost(void* host, const void* device_data, size_t nbytes,
                            Device device, uintptr_t stream) = 0;
  virtual Status CopyToDevice(void* device_data, const void* host,
                              size_t nbytes, Device device,
                              uintptr_t stream) = 0;
};

/// The CUDA driver found in this process's environment, or a runtime whose
/// available() is false and whose copies fail with a reason.
std::shared_ptr<DeviceRuntime> MakeCudaRuntime();

/// No device, and no look for one.
std::shared_ptr<DeviceRuntime> MakeNoDeviceRuntime();

/// As MakeCudaRuntime, with another library than libcuda.so.1 (tests).
std::shared_ptr<DeviceRuntime> MakeCudaRuntimeFrom(const std::string& library);

}  // namespace dcp

#endif  // DCP_DEVICE_RUNTIME_H_
