// CudaPackers: keeps packers from one copier to the next.

#ifndef DCP_DEVICE_CUDA_PACKERS_H_
#define DCP_DEVICE_CUDA_PACKERS_H_

#include <map>
#include <memory>
#include <utility>

#include "absl/base/thread_annotations.h"
#include "base/mutex.h"
#include "dcp/tensor_view.h"
#include "device/cuda_contexts.h"
#include "device/cuda_packer.h"

namespace dcp {

/// To free what a packer has in device memory may make the driver wait for all
/// that the device does, so it is not done after each save. One a device stays.
/// Thread-safe.
class CudaPackers {
 public:
  explicit CudaPackers(std::shared_ptr<CudaContexts> contexts)
      : contexts_(std::move(contexts)) {}
  CudaPackers(const CudaPackers&) = delete;
  CudaPackers& operator=(const CudaPackers&) = delete;
  ~CudaPackers();

  // With the device's context current:

  /// Null where CudaPacker::Make gives none.
  std::unique_ptr<CudaPacker> Take(Device device);
  /// Nothing that `packer` has enqueued is under way.
  void Return(Device device, std::unique_ptr<CudaPacker> packer);

 private:
  const std::shared_ptr<CudaContexts> contexts_;
  Mutex mutex_;
  std::map<int, std::unique_ptr<CudaPacker>> spare_
      ABSL_GUARDED_BY(mutex_);  // by device index
};

}  // namespace dcp

#endif  // DCP_DEVICE_CUDA_PACKERS_H_
