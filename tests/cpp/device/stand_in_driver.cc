// A library with the entry points of libcuda.so.1 that dcp uses, over host
// memory. Built as a shared library; what it does is set through stand_in_*.

#include "device/stand_in_driver.h"

#include <cstdlib>
#include <cstring>

namespace {

StandInState state;

/// 0, or the error that this call is to return.
int Result(StandInCall call) {
  ++state.calls[call];
  return state.failing_call == call ? state.error : 0;
}

}  // namespace

extern "C" {

StandInState* stand_in_state() { return &state; }

int cuInit(unsigned) { return Result(kStandInInit); }

int cuDriverGetVersion(int* version) {
  *version = 12040;
  return 0;
}

int cuGetErrorString(int error, const char** text) {
  if (error != 700) return 1;  // and `text` is left alone
  *text = "an illegal memory access was encountered";
  return 0;
}

int cuDeviceGetCount(int* count) {
  *count = state.device_count;
  return Result(kStandInDeviceCount);
}

int cuDeviceGet(int* device, int ordinal) {
  *device = 100 + ordinal;
  if (ordinal >= state.device_count) return 101;
  return Result(kStandInDeviceGet);
}

int cuDevicePrimaryCtxRetain(void** context, int device) {
  // A context is told by the address of its device's count.
  *context = &state.retained[device - 100];
  const int result = Result(kStandInRetain);
  if (result == 0) ++state.retained[device - 100];
  return result;
}

int cuDevicePrimaryCtxRelease_v2(int device) {
  --state.retained[device - 100];
  return 0;
}

int cuCtxPushCurrent_v2(void* context) {
  const int result = Result(kStandInPush);
  if (result != 0) return result;
  ++state.pushed;
  state.current = context;
  return 0;
}

int cuCtxPopCurrent_v2(void** context) {
  *context = state.current;
  --state.pushed;
  state.current = nullptr;
  return Result(kStandInPop);
}

int cuMemcpyDtoHAsync_v2(void* host, unsigned long long device, size_t nbytes,
                         void* stream) {
  state.last_stream = stream;
  state.last_context = state.current;
  std::memcpy(host, reinterpret_cast<const void*>(device), nbytes);
  return Result(kStandInToHost);
}

#ifndef STAND_IN_LACKS_A_SYMBOL
int cuMemcpyHtoDAsync_v2(unsigned long long device, const void* host,
                         size_t nbytes, void* stream) {
  state.last_stream = stream;
  state.last_context = state.current;
  std::memcpy(reinterpret_cast<void*>(device), host, nbytes);
  return Result(kStandInToDevice);
}
#endif

int cuStreamSynchronize(void* stream) {
  state.synchronized_stream = stream;
  return Result(kStandInSynchronize);
}

}  // extern "C"
