#include "device/cuda_contexts.h"

namespace dcp {

CudaContexts::~CudaContexts() {
  const MutexLock lock(mutex_);
  for (const auto& [index, context] : contexts_) {
    CuDevice device = 0;
    if (api_.device_get(&device, index) == 0) {
      api_.primary_ctx_release(device);
    }
  }
  // The library stays loaded: unloading a driver under PyTorch's feet is
  // worse than keeping it, and the process ends soon.
}

StatusOr<CuContext> CudaContexts::ContextOf(int index) {
  const MutexLock lock(mutex_);
  const auto found = contexts_.find(index);
  if (found != contexts_.end()) return found->second;
  CuDevice device = 0;
  DCP_RETURN_IF_ERROR(Check(api_.device_get(&device, index), "cuDeviceGet"));
  CuContext context = nullptr;
  DCP_RETURN_IF_ERROR(Check(api_.primary_ctx_retain(&context, device),
                            "cuDevicePrimaryCtxRetain"));
  contexts_.emplace(index, context);
  return context;
}

}  // namespace dcp
