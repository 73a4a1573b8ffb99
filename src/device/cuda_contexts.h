// CudaContexts: the primary contexts of devices, which PyTorch uses as well.

#ifndef DCP_DEVICE_CUDA_CONTEXTS_H_
#define DCP_DEVICE_CUDA_CONTEXTS_H_

#include <map>
#include <utility>

#include "absl/base/thread_annotations.h"
#include "base/guarded.h"
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
  /// and restores the thread's own. No call in it ends the capture of a CUDA
  /// graph in another thread.
  template <typename Body>
  Status Run(Device device, Body&& body) {
    CuCaptureMode mode = kCuCaptureRelaxed;
    DCP_RETURN_IF_ERROR(Enter(device, &mode));
    Status status = Guarded(std::forward<Body>(body));
    status.Update(Leave(mode));
    return status;
  }

 private:
  /// Sets the thread's capture mode to `mode`, which becomes what it was.
  Status Enter(Device device, CuCaptureMode* mode);
  Status Leave(CuCaptureMode mode);
  Status ExchangeCaptureMode(CuCaptureMode* mode);
  StatusOr<CuContext> ContextOf(int index);

  const CudaDriverApi api_;
  Mutex mutex_;
  std::map<int, CuContext> contexts_ ABSL_GUARDED_BY(mutex_);
};

}  // namespace dcp

#endif  // DCP_DEVICE_CUDA_CONTEXTS_H_
