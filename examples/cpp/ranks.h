// RunRanks: a job of several ranks in one process, each a thread.
//
// A real trainer has a process per rank. Over MPI or NCCL it takes libdcp's
// transport (mpi_trainer.cc, nccl_trainer.cc), else it derives a dcp::Transport
// from what its ranks talk over: five short methods. Nothing else in these
// examples would change.

#ifndef EXAMPLES_RANKS_H_
#define EXAMPLES_RANKS_H_

#include <functional>
#include <memory>
#include <thread>
#include <vector>

#include "dcp/status.h"
#include "dcp/transport.h"

namespace examples {

/// Calls `work` on `world_size` threads, each with its own end of a transport,
/// and returns the error of the lowest rank that failed.
inline dcp::Status RunRanks(
    int world_size, const std::function<dcp::Status(dcp::Transport&)>& work) {
  // How long a rank waits for the others before it gives up.
  constexpr double kTimeoutSeconds = 60;
  const auto transports =
      dcp::MakeThreadTransports(world_size, kTimeoutSeconds);
  std::vector<dcp::Status> results(transports.size());
  std::vector<std::thread> threads;
  for (size_t rank = 0; rank < transports.size(); ++rank) {
    threads.emplace_back(
        [&, rank] { results[rank] = work(*transports[rank]); });
  }
  for (std::thread& thread : threads) thread.join();
  for (const dcp::Status& result : results) DCP_RETURN_IF_ERROR(result);
  return {};
}

}  // namespace examples

#endif  // EXAMPLES_RANKS_H_
