// A trainer may capture a CUDA graph while a save runs. By default that is in
// the mode "global", in which a call that cannot be captured (an allocation,
// pinning, a query of an event) fails and ends the capture, whichever thread
// makes it; unless that thread has said that its calls have nothing to do with
// it (cuda.h, cuThreadExchangeStreamCaptureMode).

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

Status CudaContexts::Enter(Device device, CuCaptureMode* mode) {
  if (device.type != DeviceType::kCuda) {
    return InvalidArgument("not a CUDA device");
  }
  DCP_ASSIGN_OR_RETURN(CuContext context, ContextOf(device.index));
  DCP_RETURN_IF_ERROR(
      Check(api_.ctx_push_current(context), "cuCtxPushCurrent"));
  const Status exchanged = ExchangeCaptureMode(mode);
  if (!exchanged.ok()) api_.ctx_pop_current(&context);
  return exchanged;
}

Status CudaContexts::Leave(CuCaptureMode mode) {
  Status status = ExchangeCaptureMode(&mode);
  CuContext context = nullptr;
  status.Update(Check(api_.ctx_pop_current(&context), "cuCtxPopCurrent"));
  return status;
}

Status CudaContexts::ExchangeCaptureMode(CuCaptureMode* mode) {
  // A driver that lacks it (before 10.1) lacks the modes as well.
  if (api_.thread_exchange_stream_capture_mode == nullptr) {
    return absl::OkStatus();
  }
  return Check(api_.thread_exchange_stream_capture_mode(mode),
               "cuThreadExchangeStreamCaptureMode");
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
