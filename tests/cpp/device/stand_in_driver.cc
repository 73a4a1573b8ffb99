// A library with the entry points of libcuda.so.1 that dcp uses, over host
// memory. Built as a shared library; what it does is set through stand_in_*.

#include "device/stand_in_driver.h"

#include <cstdint>
#include <cstdlib>
#include <cstring>
#include <functional>
#include <map>
#include <mutex>
#include <string>
#include <utility>
#include <vector>

#include "device/pack_piece.h"

namespace {

StandInState state;

/// What streams have to do, in order, as if all were one.
struct Work {
  std::vector<std::function<void()>> pieces;
  size_t done = 0;
  /// How many of them an event is behind, and on which stream.
  std::map<void*, std::pair<size_t, void*>> events;
} work;

std::recursive_mutex mutex;  // of what threads use beside each other

void DoFirst(size_t count) {
  const std::scoped_lock lock(mutex);
  for (; work.done < count; ++work.done) work.pieces[work.done]();
}

void Do(std::function<void()> piece) {
  const std::scoped_lock lock(mutex);
  work.pieces.push_back(std::move(piece));
  if (!state.is_late) DoFirst(work.pieces.size());
}

/// 0, or the error that this call is to return.
int Result(StandInCall call) {
  ++state.calls[call];
  return state.failing_call == call ? state.error : 0;
}

/// Of a call that cannot be captured.
int UncapturedResult(StandInCall call) {
  if (state.is_captured && state.capture_mode != 2) {
    state.was_broken = true;
    return 900;
  }
  return Result(call);
}

void Log(const std::string& what, const void* stream) {
  const std::scoped_lock lock(mutex);
  const bool is_own = stream == state.own_stream;
  std::strncat(state.log, (what + (is_own ? "(own) " : "(caller) ")).c_str(),
               sizeof(state.log) - std::strlen(state.log) - 1);
}

int Create(StandInCall call, void** object) {
  const int result = UncapturedResult(call);
  if (result != 0) return result;
  *object = std::malloc(1);
  ++state.objects;
  return 0;
}

int Destroy(void* object) {
  std::free(object);
  --state.objects;
  return 0;
}

#ifndef STAND_IN_IS_OLD
int CopyBatch(unsigned long long* to, unsigned long long* from, size_t* nbytes,
              size_t count, size_t* begins, size_t attributes, void* stream) {
  if (attributes != 1 || begins[0] != 0) return 1;
  Log("batch", stream);
  for (size_t i = 0; i < count; ++i) {
    Do([to = reinterpret_cast<void*>(to[i]),
        from = reinterpret_cast<const void*>(from[i]),
        nbytes = nbytes[i]] { std::memcpy(to, from, nbytes); });
  }
  return Result(kStandInBatch);
}
#endif

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

#ifndef STAND_IN_IS_OLD
int cuDeviceGetPCIBusId(char* id, int, int device) {
  std::strcpy(id, device == 101 ? "0000:AB:01.0" : "0000:AB:00.0");
  return Result(kStandInBusId);
}

int cuThreadExchangeStreamCaptureMode(int* mode) {
  const int result = Result(kStandInExchangeCaptureMode);
  if (result == 0) std::swap(*mode, state.capture_mode);
  return result;
}
#endif

int cuMemcpyDtoHAsync_v2(void* host, unsigned long long device, size_t nbytes,
                         void* stream) {
  state.last_stream = stream;
  state.last_context = state.current;
  Log("copy", stream);
  Do([=] { std::memcpy(host, reinterpret_cast<const void*>(device), nbytes); });
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
  DoFirst(work.pieces.size());
  return UncapturedResult(kStandInSynchronize);
}

int cuCtxGetStreamPriorityRange(int* least, int* greatest) {
  *least = kStandInLeastPriority;
  *greatest = -5;
  return Result(kStandInPriorities);
}

int cuStreamCreateWithPriority(void** stream, unsigned flags, int priority) {
  const int result = Create(kStandInStreamCreate, stream);
  if (result != 0) return result;
  state.own_stream = *stream;
  state.own_flags = flags;
  state.own_priority = priority;
  return 0;
}

int cuStreamDestroy_v2(void* stream) { return Destroy(stream); }

int cuStreamWaitEvent(void* stream, void*, unsigned) {
  Log("wait", stream);
  return Result(kStandInStreamWait);
}

int cuEventCreate(void** event, unsigned flags) {
  state.event_flags = flags;
  return Create(kStandInEventCreate, event);
}

int cuEventDestroy_v2(void* event) { return Destroy(event); }

int cuEventRecord(void* event, void* stream) {
  Log("record", stream);
  const std::scoped_lock lock(mutex);
  work.events[event] = {work.pieces.size(), stream};
  return Result(kStandInEventRecord);
}

int cuEventQuery(void* event) {
  const std::scoped_lock lock(mutex);
  const int result = UncapturedResult(kStandInEventQuery);
  const bool is_busy =
      state.is_busy != nullptr && state.is_busy(work.events[event].second);
  return result != 0 || (state.events_have_passed && !is_busy) ? result : 600;
}

int cuEventSynchronize(void* event) {
  DoFirst(work.events[event].first);
  return UncapturedResult(kStandInEventSynchronize);
}

int cuMemHostRegister_v2(void*, size_t, unsigned flags) {
  return flags == 1 ? UncapturedResult(kStandInRegister) : 1;
}
int cuMemHostUnregister(void*) { return UncapturedResult(kStandInUnregister); }

int cuModuleLoadData(void** module, const void*) {
  return Create(kStandInModule, module);
}
int cuModuleUnload(void* module) { return Destroy(module); }

int cuModuleGetFunction(void** function, void* module, const char* name) {
  *function = module;
  return std::strcmp(name, "dcp_pack") == 0 ? 0 : 500;
}

/// As the kernel would.
int cuLaunchKernel(void*, unsigned grid, unsigned, unsigned, unsigned, unsigned,
                   unsigned, unsigned, void* stream, void** parameters,
                   void**) {
  Log("pack", stream);
  const int result = Result(kStandInLaunch);
  if (result != 0) return result;
  const auto* pieces = *static_cast<const dcp::PackPiece**>(parameters[0]);
  auto* packed = *static_cast<unsigned char**>(parameters[1]);
  Do([=] {
    for (unsigned i = 0; i < grid; ++i) {
      std::memcpy(packed + pieces[i].to,
                  reinterpret_cast<const void*>(pieces[i].from),
                  pieces[i].nbytes);
    }
  });
  return 0;
}

int cuMemAlloc_v2(void** memory, size_t nbytes) {
  const int result = UncapturedResult(kStandInAllocate);
  if (result != 0) return result;
  *memory = std::malloc(nbytes);
  ++state.objects;
  return 0;
}

int cuMemFree_v2(void* memory) { return Destroy(memory); }
int cuMemAllocHost_v2(void** to, size_t n) { return cuMemAlloc_v2(to, n); }
int cuMemFreeHost(void* memory) { return Destroy(memory); }

#ifndef STAND_IN_IS_OLD
int cuMemcpyBatchAsync(unsigned long long* to, unsigned long long* from,
                       size_t* nbytes, size_t count, void*, size_t* begins,
                       size_t attributes, size_t*, void* stream) {
  return CopyBatch(to, from, nbytes, count, begins, attributes, stream);
}

#ifndef STAND_IN_LACKS_BATCHES_V2
int cuMemcpyBatchAsync_v2(unsigned long long* to, unsigned long long* from,
                          size_t* nbytes, size_t count, void*, size_t* begins,
                          size_t attributes, void* stream) {
  return CopyBatch(to, from, nbytes, count, begins, attributes, stream);
}
#endif
#endif

}  // extern "C"
