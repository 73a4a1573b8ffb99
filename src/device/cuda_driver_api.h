// What dcp needs of the CUDA driver API, declared here so that nothing of CUDA
// is needed to build or to run. Names, types and values: cuda.h of CUDA 13; the
// driver keeps this ABI across versions, which the runtime library does not.

#ifndef DCP_DEVICE_CUDA_DRIVER_API_H_
#define DCP_DEVICE_CUDA_DRIVER_API_H_

#include <cstddef>
#include <string>

#include "dcp/status.h"

namespace dcp {

using CuResult = int;                         // CUresult; 0 is CUDA_SUCCESS
using CuDevice = int;                         // CUdevice
using CuContext = struct CuContextOpaque*;    // CUcontext
using CuStream = struct CuStreamOpaque*;      // CUstream
using CuEvent = struct CuEventOpaque*;        // CUevent
using CuModule = struct CuModuleOpaque*;      // CUmodule
using CuFunction = struct CuFunctionOpaque*;  // CUfunction
using CuCaptureMode = int;                    // CUstreamCaptureMode
using CuDevicePtr = unsigned long long;       // CUdeviceptr

inline constexpr CuResult kCuNotReady = 600;          // CUDA_ERROR_NOT_READY
inline constexpr unsigned kCuStreamNonBlocking = 1;   // CU_STREAM_NON_BLOCKING
inline constexpr unsigned kCuEventBlockingSync = 1;   // CU_EVENT_BLOCKING_SYNC
inline constexpr unsigned kCuEventDisableTiming = 2;  // CU_EVENT_DISABLE_TIMING
inline constexpr unsigned kCuRegisterPortable =
    1;  // CU_MEMHOSTREGISTER_PORTABLE
inline constexpr CuCaptureMode kCuCaptureRelaxed =
    2;  // CU_STREAM_CAPTURE_MODE_RELAXED

// CUmemcpyAttributes. The hints are for memory that has no fixed place.
struct CuMemcpyAttributes {
  int src_access_order = 1;  // CU_MEMCPY_SRC_ACCESS_ORDER_STREAM
  struct Location {
    int type = 0;
    int id = 0;
  } src_hint, dst_hint;
  unsigned flags = 0;
};

/// The entry points, null until they are looked up.
struct CudaDriverApi {
  CuResult (*init)(unsigned flags) = nullptr;
  CuResult (*driver_get_version)(int* version) = nullptr;
  CuResult (*get_error_string)(CuResult error, const char** text) = nullptr;
  CuResult (*device_get_count)(int* count) = nullptr;
  CuResult (*device_get)(CuDevice* device, int ordinal) = nullptr;
  /// May be null.
  CuResult (*device_get_pci_bus_id)(char* id, int nbytes,
                                    CuDevice device) = nullptr;
  CuResult (*primary_ctx_retain)(CuContext* context, CuDevice device) = nullptr;
  CuResult (*primary_ctx_release)(CuDevice device) = nullptr;
  CuResult (*ctx_push_current)(CuContext context) = nullptr;
  CuResult (*ctx_pop_current)(CuContext* context) = nullptr;
  /// May be null.
  CuResult (*thread_exchange_stream_capture_mode)(CuCaptureMode* mode) =
      nullptr;
  CuResult (*memcpy_dtoh_async)(void* host, CuDevicePtr device, size_t nbytes,
                                CuStream stream) = nullptr;
  CuResult (*memcpy_htod_async)(CuDevicePtr device, const void* host,
                                size_t nbytes, CuStream stream) = nullptr;
  CuResult (*stream_synchronize)(CuStream stream) = nullptr;

  // For copies beside the caller's work.
  CuResult (*ctx_get_stream_priority_range)(int* least,
                                            int* greatest) = nullptr;
  CuResult (*stream_create_with_priority)(CuStream* stream, unsigned flags,
                                          int priority) = nullptr;
  CuResult (*stream_destroy)(CuStream stream) = nullptr;
  CuResult (*stream_wait_event)(CuStream stream, CuEvent event,
                                unsigned flags) = nullptr;
  CuResult (*event_create)(CuEvent* event, unsigned flags) = nullptr;
  CuResult (*event_destroy)(CuEvent event) = nullptr;
  CuResult (*event_record)(CuEvent event, CuStream stream) = nullptr;
  CuResult (*event_query)(CuEvent event) = nullptr;
  CuResult (*event_synchronize)(CuEvent event) = nullptr;
  CuResult (*mem_host_register)(void* memory, size_t nbytes,
                                unsigned flags) = nullptr;
  CuResult (*mem_host_unregister)(void* memory) = nullptr;

  // For the packing kernel.
  CuResult (*module_load_data)(CuModule* module, const void* image) = nullptr;
  CuResult (*module_unload)(CuModule module) = nullptr;
  CuResult (*module_get_function)(CuFunction* function, CuModule module,
                                  const char* name) = nullptr;
  CuResult (*launch_kernel)(CuFunction function, unsigned grid_x,
                            unsigned grid_y, unsigned grid_z, unsigned block_x,
                            unsigned block_y, unsigned block_z,
                            unsigned shared_nbytes, CuStream stream,
                            void** parameters, void** extra) = nullptr;
  CuResult (*mem_alloc)(CuDevicePtr* memory, size_t nbytes) = nullptr;
  CuResult (*mem_free)(CuDevicePtr memory) = nullptr;
  CuResult (*mem_alloc_host)(void** memory, size_t nbytes) = nullptr;
  CuResult (*mem_free_host)(void* memory) = nullptr;

  // Both null with a driver older than 12.8. The second is 13.0's; the first
  // tells which copy was refused.
  CuResult (*memcpy_batch_async)(CuDevicePtr* to, CuDevicePtr* from,
                                 size_t* nbytes, size_t count,
                                 CuMemcpyAttributes* attributes,
                                 size_t* attribute_begins,
                                 size_t attribute_count, size_t* failed,
                                 CuStream stream) = nullptr;
  CuResult (*memcpy_batch_async_v2)(CuDevicePtr* to, CuDevicePtr* from,
                                    size_t* nbytes, size_t count,
                                    CuMemcpyAttributes* attributes,
                                    size_t* attribute_begins,
                                    size_t attribute_count,
                                    CuStream stream) = nullptr;
};

/// Looks all of them up in a library that dlopen() gave.
/// \returns the name of one that is missing and must not be, or null
const char* LookUpCudaDriver(void* library, CudaDriverApi* api);

/// Loads the driver and starts it.
/// \error kFailedPrecondition  it is not there, lacks a symbol or finds no
/// device
StatusOr<CudaDriverApi> OpenCudaDriver(const std::string& library);

/// `result` of `call` as an error that has the driver's text.
Status CheckCuda(const CudaDriverApi& api, CuResult result, const char* call);

}  // namespace dcp

#endif  // DCP_DEVICE_CUDA_DRIVER_API_H_
