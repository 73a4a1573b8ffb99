#include "device/cuda_driver_api.h"

#include <dlfcn.h>

#include <string>

namespace dcp {
namespace {

template <typename Function>
void LookUp(void* library, const char* name, Function*& function) {
  function = reinterpret_cast<Function*>(dlsym(library, name));
}

/// Remembers the first one that is missing.
struct Required {
  template <typename Function>
  void LookUp(const char* name, Function*& function) {
    dcp::LookUp(library, name, function);
    if (function == nullptr && missing == nullptr) missing = name;
  }
  void* library;
  const char* missing = nullptr;
};

void LookUpForCopiers(Required& required, CudaDriverApi* api) {
  required.LookUp("cuCtxGetStreamPriorityRange",
                  api->ctx_get_stream_priority_range);
  required.LookUp("cuStreamCreateWithPriority",
                  api->stream_create_with_priority);
  required.LookUp("cuStreamDestroy_v2", api->stream_destroy);
  required.LookUp("cuStreamWaitEvent", api->stream_wait_event);
  required.LookUp("cuEventCreate", api->event_create);
  required.LookUp("cuEventDestroy_v2", api->event_destroy);
  required.LookUp("cuEventRecord", api->event_record);
  required.LookUp("cuEventQuery", api->event_query);
  required.LookUp("cuEventSynchronize", api->event_synchronize);
  required.LookUp("cuMemHostRegister_v2", api->mem_host_register);
  required.LookUp("cuMemHostUnregister", api->mem_host_unregister);
}

void LookUpForPacking(Required& required, CudaDriverApi* api) {
  required.LookUp("cuModuleLoadData", api->module_load_data);
  required.LookUp("cuModuleUnload", api->module_unload);
  required.LookUp("cuModuleGetFunction", api->module_get_function);
  required.LookUp("cuLaunchKernel", api->launch_kernel);
  required.LookUp("cuMemAlloc_v2", api->mem_alloc);
  required.LookUp("cuMemFree_v2", api->mem_free);
  required.LookUp("cuMemAllocHost_v2", api->mem_alloc_host);
  required.LookUp("cuMemFreeHost", api->mem_free_host);
}

}  // namespace

const char* LookUpCudaDriver(void* library, CudaDriverApi* api) {
  Required required{.library = library};
  required.LookUp("cuInit", api->init);
  required.LookUp("cuDriverGetVersion", api->driver_get_version);
  required.LookUp("cuGetErrorString", api->get_error_string);
  required.LookUp("cuDeviceGetCount", api->device_get_count);
  required.LookUp("cuDeviceGet", api->device_get);
  required.LookUp("cuDevicePrimaryCtxRetain", api->primary_ctx_retain);
  required.LookUp("cuDevicePrimaryCtxRelease_v2", api->primary_ctx_release);
  required.LookUp("cuCtxPushCurrent_v2", api->ctx_push_current);
  required.LookUp("cuCtxPopCurrent_v2", api->ctx_pop_current);
  required.LookUp("cuMemcpyDtoHAsync_v2", api->memcpy_dtoh_async);
  required.LookUp("cuMemcpyHtoDAsync_v2", api->memcpy_htod_async);
  required.LookUp("cuStreamSynchronize", api->stream_synchronize);
  LookUpForCopiers(required, api);
  LookUpForPacking(required, api);
  LookUp(library, "cuDeviceGetPCIBusId", api->device_get_pci_bus_id);
  LookUp(library, "cuThreadExchangeStreamCaptureMode",
         api->thread_exchange_stream_capture_mode);
  LookUp(library, "cuMemcpyBatchAsync", api->memcpy_batch_async);
  LookUp(library, "cuMemcpyBatchAsync_v2", api->memcpy_batch_async_v2);
  return required.missing;
}

StatusOr<CudaDriverApi> OpenCudaDriver(const std::string& library) {
  void* handle = dlopen(library.c_str(), RTLD_NOW | RTLD_LOCAL);
  if (handle == nullptr) return FailedPrecondition(library + " not found");
  CudaDriverApi api;
  if (const char* missing = LookUpCudaDriver(handle, &api)) {
    return FailedPrecondition(library + " lacks " + missing);
  }
  int count = 0;
  const CuResult started = api.init(0);
  if (started != 0 || api.device_get_count(&count) != 0 || count == 0) {
    return FailedPrecondition(
        library + " finds no device (cuInit: " + std::to_string(started) + ")");
  }
  return api;
}

Status CheckCuda(const CudaDriverApi& api, CuResult result, const char* call) {
  if (result == 0) return absl::OkStatus();
  const char* text = nullptr;
  api.get_error_string(result, &text);
  return MakeStatus(absl::StatusCode::kUnknown,
                    std::string(call) + ": " +
                        (text != nullptr ? text : "unknown CUDA error") + " (" +
                        std::to_string(result) + ")");
}

}  // namespace dcp
