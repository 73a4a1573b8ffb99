// What dcp needs of NCCL, declared here so that nothing of NCCL is needed to
// build or to run. Names, types and values: nccl.h of NCCL 2.18 to 2.32; they
// are the same in all of them.

#ifndef DCP_NCCL_NCCL_API_H_
#define DCP_NCCL_NCCL_API_H_

#include <climits>
#include <cstddef>
#include <string>

#include "dcp/nccl_transport.h"
#include "dcp/status.h"
#include "device/cuda_driver_api.h"

namespace dcp {

using NcclComm = ::ncclComm*;  // ncclComm_t
using NcclResult = int;        // ncclResult_t
using NcclDataType = int;      // ncclDataType_t

inline constexpr NcclResult kNcclSuccess = 0;
inline constexpr NcclResult kNcclSystemError = 2;
inline constexpr NcclResult kNcclRemoteError = 6;
inline constexpr NcclResult kNcclInProgress = 7;
inline constexpr NcclDataType kNcclUint8 = 1;

/// ncclConfig_t as of NCCL 2.18. Later versions append to it, and go by `size`
/// and `version`.
struct NcclConfig {
  static constexpr int kUndefined = INT_MIN;  // NCCL_CONFIG_UNDEF_INT

  size_t size = sizeof(NcclConfig);
  unsigned magic = 0xcafebeef;  // NCCL_API_MAGIC
  unsigned version = 21800;
  int blocking = kUndefined;
  int cga_cluster_size = kUndefined;
  int min_ctas = kUndefined;
  int max_ctas = kUndefined;
  const char* net_name = nullptr;
  int split_share = kUndefined;
  int traffic_class = kUndefined;  // padding before 2.27
};

/// The entry points, null until they are looked up.
struct NcclApi {
  NcclResult (*get_version)(int* version) = nullptr;
  const char* (*get_error_string)(NcclResult result) = nullptr;
  const char* (*get_last_error)(NcclComm comm) = nullptr;
  NcclResult (*comm_count)(NcclComm comm, int* count) = nullptr;
  NcclResult (*comm_user_rank)(NcclComm comm, int* rank) = nullptr;
  NcclResult (*comm_cu_device)(NcclComm comm, int* device) = nullptr;
  NcclResult (*comm_split)(NcclComm comm, int color, int key, NcclComm* made,
                           NcclConfig* config) = nullptr;
  NcclResult (*comm_get_async_error)(NcclComm comm,
                                     NcclResult* error) = nullptr;
  NcclResult (*comm_finalize)(NcclComm comm) = nullptr;
  NcclResult (*comm_destroy)(NcclComm comm) = nullptr;
  NcclResult (*comm_abort)(NcclComm comm) = nullptr;
  NcclResult (*group_start)() = nullptr;
  NcclResult (*group_end)() = nullptr;
  NcclResult (*all_gather)(const void* from, void* to, size_t count,
                           NcclDataType type, NcclComm comm,
                           CuStream stream) = nullptr;
  NcclResult (*broadcast)(const void* from, void* to, size_t count,
                          NcclDataType type, int root, NcclComm comm,
                          CuStream stream) = nullptr;
  NcclResult (*send)(const void* from, size_t count, NcclDataType type,
                     int peer, NcclComm comm, CuStream stream) = nullptr;
  NcclResult (*recv)(void* to, size_t count, NcclDataType type, int peer,
                     NcclComm comm, CuStream stream) = nullptr;
};

/// The NCCL that is loaded in this process (NcclTransportOptions).
///
/// None is loaded for want of one: a communicator is an object of the copy that
/// made it, and another copy would read it wrong.
/// \error kFailedPrecondition  there is none, or it lacks a symbol
/// \error kUnimplemented  its version is not one of those above
StatusOr<NcclApi> FindNccl(const std::string& library);

/// OK for ncclSuccess and ncclInProgress, else what NCCL says of `result`,
/// which `call` about `comm` returned.
/// \error kAborted  it is about another rank, or the way to it
/// \error kUnknown  any other
Status CheckNccl(const NcclApi& api, NcclResult result, const char* call,
                 NcclComm comm);

}  // namespace dcp

#endif  // DCP_NCCL_NCCL_API_H_
