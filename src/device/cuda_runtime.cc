// The CUDA driver, looked up at run time:
// 1. libcuda.so.1 comes with the driver, so it is there exactly on machines
//    that have a GPU to offer; a PyTorch process has it loaded already.
// 2. Copies run in the device's primary context, the one that PyTorch uses.
//    It is retained on first use and released with the runtime.
// 3. A copy is queued on the caller's stream, behind the work that produces
//    the tensor, and waited for.

#include <dlfcn.h>

#include <map>
#include <string>
#include <utility>

#include "absl/base/thread_annotations.h"
#include "base/mutex.h"
#include "dcp/device_runtime.h"
#include "device/cuda_driver_api.h"

namespace dcp {
namespace {

/// A runtime that explains why there is none.
class NoRuntime final : public DeviceRuntime {
 public:
  explicit NoRuntime(std::string reason) : reason_(std::move(reason)) {}

  std::string Describe() const override { return "none: " + reason_; }
  bool available() const override { return false; }
  Status CopyToHost(void*, const void*, size_t, Device, uintptr_t) override {
    return Unavailable();
  }
  Status CopyToDevice(void*, const void*, size_t, Device, uintptr_t) override {
    return Unavailable();
  }

 private:
  Status Unavailable() const {
    return FailedPrecondition(
        "a tensor lies on a CUDA device, and CUDA is "
        "not available: " +
        reason_);
  }
  const std::string reason_;
};

class CudaRuntime final : public DeviceRuntime {
 public:
  CudaRuntime(const CudaDriverApi& api, std::string description)
      : api_(api), description_(std::move(description)) {}

  ~CudaRuntime() override {
    MutexLock lock(mutex_);
    for (const auto& [index, context] : contexts_) {
      CuDevice device = 0;
      if (api_.device_get(&device, index) == 0) {
        api_.primary_ctx_release(device);
      }
    }
    // The library stays loaded: unloading a driver under PyTorch's feet is
    // worse than keeping it, and the process ends soon.
  }

  std::string Describe() const override { return description_; }
  bool available() const override { return true; }

  Status CopyToHost(void* host, const void* device_data, size_t nbytes,
                    Device device, uintptr_t stream) override {
    return InContext(device, [&]() -> Status {
      DCP_RETURN_IF_ERROR(Check(
          api_.memcpy_dtoh_async(host,
                                 reinterpret_cast<CuDevicePtr>(device_data),
                                 nbytes, reinterpret_cast<CuStream>(stream)),
          "cuMemcpyDtoHAsync"));
      return Check(api_.stream_synchronize(reinterpret_cast<CuStream>(stream)),
                   "cuStreamSynchronize");
    });
  }

  Status CopyToDevice(void* device_data, const void* host, size_t nbytes,
                      Device device, uintptr_t stream) override {
    return InContext(device, [&]() -> Status {
      DCP_RETURN_IF_ERROR(Check(
          api_.memcpy_htod_async(reinterpret_cast<CuDevicePtr>(device_data),
                                 host, nbytes,
                                 reinterpret_cast<CuStream>(stream)),
          "cuMemcpyHtoDAsync"));
      return Check(api_.stream_synchronize(reinterpret_cast<CuStream>(stream)),
                   "cuStreamSynchronize");
    });
  }

 private:
  Status Check(CuResult result, const char* call) const {
    if (result == 0) return absl::OkStatus();
    const char* text = nullptr;
    api_.get_error_string(result, &text);
    return MakeStatus(absl::StatusCode::kUnknown,
                      std::string(call) + ": " +
                          (text != nullptr ? text : "unknown CUDA error") +
                          " (" + std::to_string(result) + ")");
  }

  StatusOr<CuContext> ContextOf(int index) {
    MutexLock lock(mutex_);
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

  /// Runs `body` with the device's context current, and restores the thread's
  /// own.
  template <typename Body>
  Status InContext(Device device, Body&& body) {
    if (device.type != DeviceType::kCuda) {
      return InvalidArgument("not a CUDA device");
    }
    DCP_ASSIGN_OR_RETURN(CuContext context, ContextOf(device.index));
    DCP_RETURN_IF_ERROR(
        Check(api_.ctx_push_current(context), "cuCtxPushCurrent"));
    Status status = body();
    status.Update(Check(api_.ctx_pop_current(&context), "cuCtxPopCurrent"));
    return status;
  }

  const CudaDriverApi api_;
  const std::string description_;
  Mutex mutex_;
  std::map<int, CuContext> contexts_ ABSL_GUARDED_BY(mutex_);
};

/// Looks `name` up; remembers the first one that is missing.
template <typename Function>
void LookUp(void* library, const char* name, Function*& function,
            const char** missing) {
  function = reinterpret_cast<Function*>(dlsym(library, name));
  if (function == nullptr && *missing == nullptr) *missing = name;
}

const char* LookUpAll(void* library, CudaDriverApi* api) {
  const char* missing = nullptr;
  LookUp(library, "cuInit", api->init, &missing);
  LookUp(library, "cuDriverGetVersion", api->driver_get_version, &missing);
  LookUp(library, "cuGetErrorString", api->get_error_string, &missing);
  LookUp(library, "cuDeviceGetCount", api->device_get_count, &missing);
  LookUp(library, "cuDeviceGet", api->device_get, &missing);
  LookUp(library, "cuDevicePrimaryCtxRetain", api->primary_ctx_retain,
         &missing);
  LookUp(library, "cuDevicePrimaryCtxRelease_v2", api->primary_ctx_release,
         &missing);
  LookUp(library, "cuCtxPushCurrent_v2", api->ctx_push_current, &missing);
  LookUp(library, "cuCtxPopCurrent_v2", api->ctx_pop_current, &missing);
  LookUp(library, "cuMemcpyDtoHAsync_v2", api->memcpy_dtoh_async, &missing);
  LookUp(library, "cuMemcpyHtoDAsync_v2", api->memcpy_htod_async, &missing);
  LookUp(library, "cuStreamSynchronize", api->stream_synchronize, &missing);
  return missing;
}

}  // namespace

std::shared_ptr<DeviceRuntime> MakeCudaRuntime() {
  // Looking for a library that is not there takes 0.1 ms.
  static const std::shared_ptr<DeviceRuntime> runtime =
      MakeCudaRuntimeFrom("libcuda.so.1");
  return runtime;
}

std::shared_ptr<DeviceRuntime> MakeNoDeviceRuntime() {
  return std::make_shared<NoRuntime>("this process uses no device");
}

std::shared_ptr<DeviceRuntime> MakeCudaRuntimeFrom(const std::string& library) {
  void* handle = dlopen(library.c_str(), RTLD_NOW | RTLD_LOCAL);
  if (handle == nullptr) {
    return std::make_shared<NoRuntime>(library + " not found");
  }
  CudaDriverApi api;
  if (const char* missing = LookUpAll(handle, &api)) {
    return std::make_shared<NoRuntime>(library + " lacks " + missing);
  }
  int count = 0;
  const CuResult started = api.init(0);
  if (started != 0 || api.device_get_count(&count) != 0 || count == 0) {
    return std::make_shared<NoRuntime>(
        library + " finds no device (cuInit: " + std::to_string(started) + ")");
  }
  int version = 0;
  api.driver_get_version(&version);
  return std::make_shared<CudaRuntime>(
      api, "cuda " + std::to_string(version / 1000) + "." +
               std::to_string(version % 1000 / 10) + ", " +
               std::to_string(count) + " device(s) (" + library + ")");
}

}  // namespace dcp
