// MakeMpiTransport: the ranks of an MPI program save and load together.
//
//   MPI_Init_thread(&argc, &argv, MPI_THREAD_MULTIPLE, &provided);
//   auto transport = dcp::MakeMpiTransport(MPI_COMM_WORLD);
//   dcp::Save(entries, *writer, **transport, {});
//
// In the target dcp::mpi (find_package(dcp COMPONENTS mpi)), which is there
// where libdcp was built with MPI. The only header that includes mpi.h.

#ifndef DCP_MPI_TRANSPORT_H_
#define DCP_MPI_TRANSPORT_H_

#include <mpi.h>

#include <memory>

#include "dcp/clock.h"
#include "dcp/status.h"
#include "dcp/transport.h"

namespace dcp {

struct MpiTransportOptions {
  /// How long the coordinator, rank 0, waits for the others in a collective;
  /// they wait a quarter longer, so that it can tell them who is missing.
  double timeout_seconds = 1800;
  /// null: the system's.
  std::shared_ptr<Clock> clock;
};

/// A transport for the ranks of `comm`, which all call this together. It talks
/// over a duplicate of `comm`: the trainer's own messages and collectives never
/// meet those of a save.
///
/// A save in the background (AsyncSave) needs MPI_THREAD_MULTIPLE, or
/// MPI_THREAD_SERIALIZED and a trainer that makes no call of MPI meanwhile.
/// Waiting polls with pauses of up to 10 ms, so it takes no core from the
/// training.
///
/// Whoever destroys it, or gives up after an error, fails the calls of the
/// other ranks with kAborted. The destructor waits up to a second for the
/// others to be done with theirs; a rank that is not leaves the duplicate
/// behind until MPI_Finalize. A rank that dies ends the job, as is MPI's rule:
/// what was published before is whole.
///
/// \error kFailedPrecondition  MPI is not initialized or has been finalized; a
///     call comes from a thread that may not make it (all calls check); a rank
///     runs another version of libdcp
/// \error kInvalidArgument  MPI_COMM_NULL or an inter-communicator
/// \error kDeadlineExceeded  a rank of `comm` did not call this
StatusOr<std::unique_ptr<Transport>> MakeMpiTransport(
    MPI_Comm comm, const MpiTransportOptions& options = {});

}  // namespace dcp

#endif  // DCP_MPI_TRANSPORT_H_
