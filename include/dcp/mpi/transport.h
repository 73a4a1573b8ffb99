// MakeMpiTransport: the ranks of an MPI program save and load together.
//
//   MPI_Init_thread(&argc, &argv, MPI_THREAD_MULTIPLE, &provided);
//   if (provided < MPI_THREAD_MULTIPLE) ...  // no saves in the background
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
  /// How long the coordinator, rank 0, waits for the others in a collective.
  /// They wait twice as long for it: it may have come late, and tells them who
  /// is missing.
  double timeout_seconds = 1800;
  /// null: the system's.
  std::shared_ptr<Clock> clock;
};

/// A transport for the ranks of `comm`, which all call this together. It talks
/// over a duplicate of `comm`: the trainer's own messages and collectives never
/// meet those of a save.
///
/// A save in the background (AsyncSave) needs MPI_THREAD_MULTIPLE, or
/// MPI_THREAD_SERIALIZED and a trainer that makes no call of MPI meanwhile: see
/// what MPI_Init_thread provided. Waiting polls with pauses of up to 10 ms, so
/// it takes no core from the training.
///
/// An error of one rank's transport (a deadline, calls that do not match, no
/// memory) fails all calls of all ranks from then on. So does a transport that
/// is destroyed, with kAborted. A rank whose Save or Load threw, or ended with
/// an error without RankFailures (kCancelled, a message that it cannot read),
/// has left without a word: destroy its transport, or the others wait for it.
/// The destructor waits up to a second for the others to be done with theirs; a
/// rank that is not leaves the duplicate behind until MPI_Finalize. A rank that
/// dies ends the job, as is MPI's rule: what was published before is whole.
///
/// \error kFailedPrecondition  MPI is not initialized or has been finalized; a
///     call comes from a thread that may not make it (all calls check); a rank
///     runs a libdcp with another protocol between ranks
/// \error kInvalidArgument  MPI_COMM_NULL or an inter-communicator
/// \error kDeadlineExceeded  a rank of `comm` did not call this. MPI counts
///     calls on `comm`: do not try again with it.
StatusOr<std::unique_ptr<Transport>> MakeMpiTransport(
    MPI_Comm comm, const MpiTransportOptions& options = {});

}  // namespace dcp

#endif  // DCP_MPI_TRANSPORT_H_
