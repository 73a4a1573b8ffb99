// What dcp needs of the CUDA driver API, declared here so that nothing of CUDA
// is needed to build or to run. Names, types and values: cuda.h of CUDA 13; the
// driver keeps this ABI across versions, which the runtime library does not.

#ifndef DCP_DEVICE_CUDA_DRIVER_API_H_
#define DCP_DEVICE_CUDA_DRIVER_API_H_

#include <cstddef>

namespace dcp {

using CuResult = int;                       // CUresult; 0 is CUDA_SUCCESS
using CuDevice = int;                       // CUdevice
using CuContext = struct CuContextOpaque*;  // CUcontext
using CuStream = struct CuStreamOpaque*;    // CUstream
using CuDevicePtr = unsigned long long;     // CUdeviceptr

/// The entry points, null until they are looked up.
struct CudaDriverApi {
  CuResult (*init)(unsigned flags) = nullptr;
  CuResult (*driver_get_version)(int* version) = nullptr;
  CuResult (*get_error_string)(CuResult error, const char** text) = nullptr;
  CuResult (*device_get_count)(int* count) = nullptr;
  CuResult (*device_get)(CuDevice* device, int ordinal) = nullptr;
  CuResult (*primary_ctx_retain)(CuContext* context, CuDevice device) = nullptr;
  CuResult (*primary_ctx_release)(CuDevice device) = nullptr;
  CuResult (*ctx_push_current)(CuContext context) = nullptr;
  CuResult (*ctx_pop_current)(CuContext* context) = nullptr;
  CuResult (*memcpy_dtoh_async)(void* host, CuDevicePtr device, size_t nbytes,
                                CuStream stream) = nullptr;
  CuResult (*memcpy_htod_async)(CuDevicePtr device, const void* host,
                                size_t nbytes, CuStream stream) = nullptr;
  CuResult (*stream_synchronize)(CuStream stream) = nullptr;
};

}  // namespace dcp

#endif  // DCP_DEVICE_CUDA_DRIVER_API_H_
