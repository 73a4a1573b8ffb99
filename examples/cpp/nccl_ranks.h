// NcclRanks: ranks that are processes with a GPU each, over NCCL.
//
// A trainer that is built where CUDA is includes cuda.h and nccl.h instead, and
// links both. This one declares the few calls that it makes, as they are in
// CUDA 12 and 13 and in NCCL 2, and finds the libraries at run time: so it can
// be built anywhere.

#ifndef EXAMPLES_NCCL_RANKS_H_
#define EXAMPLES_NCCL_RANKS_H_

#include <dlfcn.h>

#include <chrono>
#include <memory>
#include <string>
#include <thread>
#include <vector>

#include "clock_network.h"
#include "dcp/nccl_transport.h"
#include "dcp/status.h"

namespace examples {

struct NcclUniqueId {  // ncclUniqueId
  char internal[128];
};

struct CudaAndNccl {
  /// \error kFailedPrecondition  one of them is not there, or no GPU
  static dcp::StatusOr<CudaAndNccl> Find();

  int (*get_device_count)(int* count);
  int (*get_device)(int* device, int ordinal);
  int (*retain_context)(void** context, int device);
  int (*push_context)(void* context);
  int (*make_stream)(void** stream, unsigned flags, int priority);
  int (*make_event)(void** event, unsigned flags);
  int (*allocate)(void** memory, size_t nbytes);
  int (*to_device)(void* device, const void* host, size_t nbytes, void* stream);
  int (*to_host)(void* host, const void* device, size_t nbytes, void* stream);
  int (*record)(void* event, void* stream);
  int (*query)(void* event);
  int (*synchronize)(void* stream);
  int (*get_unique_id)(NcclUniqueId* id);
  int (*init_rank)(ncclComm** comm, int world_size, NcclUniqueId id, int rank);
  int (*all_reduce)(const void* from, void* to, size_t count, int type, int op,
                    ncclComm* comm, void* stream);
  int (*get_error)(ncclComm* comm, int* error);
  int (*destroy)(ncclComm* comm);
  int device_count = 0;
};

inline dcp::StatusOr<CudaAndNccl> CudaAndNccl::Find() {
  CudaAndNccl found{};
  std::string missing;
  const auto look_up = [&](void* library, const char* name, auto& function) {
    using Function = std::remove_reference_t<decltype(function)>;
    if (library == nullptr) return;
    function = reinterpret_cast<Function>(dlsym(library, name));
    if (function == nullptr) missing = name;
  };
  int (*init)(unsigned flags) = nullptr;
  void* const cuda = dlopen("libcuda.so.1", RTLD_NOW);
  look_up(cuda, "cuInit", init);
  look_up(cuda, "cuDeviceGetCount", found.get_device_count);
  look_up(cuda, "cuDeviceGet", found.get_device);
  look_up(cuda, "cuDevicePrimaryCtxRetain", found.retain_context);
  look_up(cuda, "cuCtxPushCurrent_v2", found.push_context);
  look_up(cuda, "cuStreamCreateWithPriority", found.make_stream);
  look_up(cuda, "cuEventCreate", found.make_event);
  look_up(cuda, "cuMemAlloc_v2", found.allocate);
  look_up(cuda, "cuMemcpyHtoDAsync_v2", found.to_device);
  look_up(cuda, "cuMemcpyDtoHAsync_v2", found.to_host);
  look_up(cuda, "cuEventRecord", found.record);
  look_up(cuda, "cuEventQuery", found.query);
  look_up(cuda, "cuStreamSynchronize", found.synchronize);
  void* const nccl = dlopen("libnccl.so.2", RTLD_NOW);
  look_up(nccl, "ncclGetUniqueId", found.get_unique_id);
  look_up(nccl, "ncclCommInitRank", found.init_rank);
  look_up(nccl, "ncclAllReduce", found.all_reduce);
  look_up(nccl, "ncclCommGetAsyncError", found.get_error);
  look_up(nccl, "ncclCommDestroy", found.destroy);
  if (cuda == nullptr) missing = "libcuda.so.1";
  if (nccl == nullptr) missing = "libnccl.so.2";
  if (!missing.empty()) return dcp::FailedPrecondition("no " + missing);
  if (init(0) != 0 || found.get_device_count(&found.device_count) != 0) {
    return dcp::FailedPrecondition("no GPU");
  }
  return found;
}

class NcclRanks final : public Ranks {
 public:
  /// All ranks call this together; rank i takes GPU i.
  static dcp::StatusOr<std::unique_ptr<NcclRanks>> Make(const CudaAndNccl& api,
                                                        const NcclUniqueId& id,
                                                        int rank,
                                                        int world_size) {
    std::unique_ptr<NcclRanks> ranks(new NcclRanks(api, rank, world_size));
    void* context = nullptr;
    int device = 0;
    const bool made =
        api.get_device(&device, rank) == 0 &&
        api.retain_context(&context, device) == 0 &&
        api.push_context(context) == 0 &&
        api.make_stream(&ranks->stream_, 0, 0) == 0 &&
        api.make_event(&ranks->event_, 0) == 0 &&
        api.allocate(&ranks->memory_, kMaxValues * sizeof(double)) == 0;
    if (!made) return dcp::Internal("CUDA does not work");
    DCP_RETURN_IF_ERROR(
        Check(api.init_rank(&ranks->comm_, world_size, id, rank)));
    return ranks;
  }
  /// After all transports that were made of it.
  ~NcclRanks() override {
    if (comm_ != nullptr) api_.destroy(comm_);
  }

  int rank() const override { return rank_; }
  int world_size() const override { return world_size_; }
  ncclComm* comm() const { return comm_; }

  dcp::Status Sum(std::vector<double>* values) override {
    constexpr int kFloat64 = 8;  // ncclFloat64
    constexpr int kSum = 0;      // ncclSum
    const size_t nbytes = values->size() * sizeof(double);
    if (values->size() > kMaxValues) return dcp::Internal("too many values");
    api_.to_device(memory_, values->data(), nbytes, stream_);
    DCP_RETURN_IF_ERROR(Check(api_.all_reduce(memory_, memory_, values->size(),
                                              kFloat64, kSum, comm_, stream_)));
    api_.record(event_, stream_);
    while (api_.query(event_) != 0) {
      // Else a rank that is gone would be waited for.
      int error = 0;
      api_.get_error(comm_, &error);
      DCP_RETURN_IF_ERROR(Check(error));
      std::this_thread::sleep_for(std::chrono::microseconds(100));
    }
    api_.to_host(values->data(), memory_, nbytes, stream_);
    return api_.synchronize(stream_) == 0 ? dcp::Status()
                                          : dcp::Internal("CUDA fails");
  }

 private:
  static constexpr size_t kMaxValues = 1024;

  NcclRanks(const CudaAndNccl& api, int rank, int world_size)
      : api_(api), rank_(rank), world_size_(world_size) {}
  static dcp::Status Check(int result) {
    if (result == 0) return {};
    return dcp::Internal("NCCL fails with " + std::to_string(result));
  }

  const CudaAndNccl api_;
  const int rank_;
  const int world_size_;
  ncclComm* comm_ = nullptr;
  void* stream_ = nullptr;
  void* event_ = nullptr;
  void* memory_ = nullptr;
};

}  // namespace examples

#endif  // EXAMPLES_NCCL_RANKS_H_
