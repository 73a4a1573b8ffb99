// MakeNcclTransport: the ranks of an NCCL program save and load together.
//
//   ncclCommInitRank(&comm, world_size, id, rank);  // the trainer's own
//   auto transport = dcp::MakeNcclTransport(comm);
//   dcp::AsyncSave(entries, nullptr, {.writer = ..., .transport = ...});
//
// In libdcp itself, which needs neither NCCL nor CUDA to be built or loaded:
// both are looked for in the process when this is called.

#ifndef DCP_NCCL_TRANSPORT_H_
#define DCP_NCCL_TRANSPORT_H_

#include <memory>
#include <string>

#include "dcp/clock.h"
#include "dcp/status.h"
#include "dcp/transport.h"

/// nccl.h's: ncclComm_t is a pointer to it.
struct ncclComm;  // NOLINT(readability-identifier-naming)

namespace dcp {

struct NcclTransportOptions {
  /// How long a collective waits for the other ranks, and then again for what
  /// they send.
  double timeout_seconds = 1800;
  /// The file of the NCCL that made the communicator. Empty: the one that the
  /// program is linked with, else the one that is loaded as libnccl.so.2.
  std::string nccl_library;
  std::string cuda_library = "libcuda.so.1";
  /// null: the system's.
  std::shared_ptr<Clock> clock;
};

/// A transport for the ranks of `comm`, which all call this together. `comm` is
/// split once, in this call, and is not used afterwards: saves in the
/// background talk over the split, on a stream of their own and of the lowest
/// priority, and the trainer goes on with `comm` meanwhile. The split takes one
/// SM while ranks wait for each other (a trainer's kernels share the rest), and
/// 4 MiB each of device memory and of pinned memory.
///
/// While a rank that has written waits for the others (AwaitAll), a kernel of
/// NCCL waits on its device: what waits for the whole device
/// (cudaDeviceSynchronize, cudaFree, the first use of a kernel that is loaded
/// lazily) waits until the slowest rank has written. Trainers synchronize
/// streams and events while a save is in the background, and set
/// CUDA_MODULE_LOADING=EAGER.
///
/// A communicator that blocks (NCCL's default) waits in the split until all
/// ranks have come, however long that takes; only one with `blocking = 0` gives
/// up after the timeout, and is then good for ncclCommAbort alone. Do not set
/// `splitShare` on `comm`: NCCL would let the split's end be that of `comm`.
/// `comm` must outlive the call only.
///
/// A deadline that passes, or an error that NCCL reports of the split, aborts
/// the split, never `comm`, and every later call returns that error. An error
/// of one rank alone (a message that is garbled) is told to the others in their
/// next call; one that has no memory for a message which is on its way breaks
/// the split. AwaitAll waits for ranks that write for as long
/// as they take. That a rank is gone it learns from that rank, whose transport
/// says so when it is destroyed and waits up to a second for the others to
/// hear it, or from NCCL (ncclCommGetAsyncError), which notices broken
/// connections between hosts but not in every case those within one.
///
/// \error kFailedPrecondition  no NCCL or CUDA in this process; ranks that call
///     different methods or run a libdcp with another protocol between ranks
/// \error kUnimplemented  an NCCL before 2.18, which cannot split, or after 2
/// \error kInvalidArgument  null, or more than 131,072 ranks
/// \error kDeadlineExceeded  a rank of `comm` did not call this
StatusOr<std::unique_ptr<Transport>> MakeNcclTransport(
    ncclComm* comm, const NcclTransportOptions& options = {});

}  // namespace dcp

#endif  // DCP_NCCL_TRANSPORT_H_
