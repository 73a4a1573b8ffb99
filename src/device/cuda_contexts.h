// CudaContexts: the primary contexts of devices, which PyTorch uses as well.

#ifndef DCP_DEVICE_CUDA_CONTEXTS_H_
#define DCP_DEVICE_CUDA_CONTEXTS_H_

#include <map>
#include <utility>

#include "absl/base/thread_annotations.h"
#include "base/mutex.h"
#include "dcp/status.h"
#include "dcp/tensor_view.h"
#include "device/cuda_driver_api.h"

namespace dcp {

/// Retains each context on its first use and releases it with itself: whoever
/// has something in one keeps this alive. Thread-safe.
class CudaContexts {
 public:
  explicit CudaContexts(const CudaDriverApi& api) : api_(api) {}
  CudaContexts(const CudaContexts&) = delete;
  CudaContexts& operator=(const CudaContexts&) = delete;
  ~CudaContexts();

  const CudaDriverApi& api() const { return api_; }
  Status Check(CuResult result, const char* call) const {
    return CheckCuda(api_, result, call);
  }

  /// Runs `body`, which returns a Status, with the device's context current,
  /// and restores the thread's own.
  template <typename Body>
  Status Run(Device device, Body&& body) {
    if (device.type != DeviceType::kCuda) {
      return InvalidArgument("not a CUDA device");
    }
    DCP_ASSIGN_OR_RETURN(CuContext context, ContextOf(device.index));
    DCP_RETURN_IF_ERROR(
        Check(api_.ctx_push_current(context), "cuCtxPushCurrent"));
    Status status = std::forward<Body>(body)();
    status.Update(Check(api_.ctx_pop_current(&context), "cuCtxPopCurrent"));
    return status;
  }

 private:
  StatusOr<CuContext> ContextOf(int index);

  const CudaDriverApi api_;
  Mutex mutex_;
  std::map<int, CuContext> contexts_ ABSL_GUARDED_BY(mutex_);
};

}  // namespace dcp

#endif  // DCP_DEVICE_CUDA_CONTEXTS_H_
