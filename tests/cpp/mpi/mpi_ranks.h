// RunOnRanks: the body of a test on some of the ranks of mpirun.

#ifndef DCP_TESTS_MPI_MPI_RANKS_H_
#define DCP_TESTS_MPI_MPI_RANKS_H_

#include <mpi.h>

#include <functional>
#include <memory>
#include <optional>

#include "dcp/mpi/transport.h"

namespace dcp {

inline int WorldRank() {
  int rank = 0;
  MPI_Comm_rank(MPI_COMM_WORLD, &rank);
  return rank;
}

/// Runs `body` on the first `count` ranks of the world, with a transport of
/// theirs, and returns what it returned; OK on the others. All ranks return
/// together, and the transports live until then, unless `body` takes its own.
inline Status RunOnRanks(
    int count, double timeout_seconds,
    const std::function<Status(std::unique_ptr<Transport>&)>& body) {
  const bool takes_part = WorldRank() < count;
  MPI_Comm comm = MPI_COMM_NULL;
  MPI_Comm_split(MPI_COMM_WORLD, takes_part ? 0 : 1, 0, &comm);
  Status status;
  {
    std::unique_ptr<Transport> transport;
    if (takes_part) {
      auto made = MakeMpiTransport(comm, {.timeout_seconds = timeout_seconds});
      status = made.status();
      if (made.ok()) {
        transport = *std::move(made);
        status = body(transport);
      }
    }
    MPI_Barrier(MPI_COMM_WORLD);
  }
  MPI_Comm_free(&comm);
  return status;
}

}  // namespace dcp

#endif  // DCP_TESTS_MPI_MPI_RANKS_H_
