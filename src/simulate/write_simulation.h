// SimulateWrites: ranks write their parts, on a virtual clock.

#ifndef DCP_SIMULATE_WRITE_SIMULATION_H_
#define DCP_SIMULATE_WRITE_SIMULATION_H_

#include <limits>
#include <vector>

#include "dcp/simulate_save.h"

namespace dcp {

inline constexpr double kNever = std::numeric_limits<double>::infinity();

/// Under which ranks write; a value for each, or for each node. Seconds are
/// those since the save began.
struct WriteConditions {
  std::vector<double> planned;      ///< when a rank may begin
  std::vector<double> stops;        ///< when it moves no more, or kNever
  std::vector<double> rank_factor;  ///< so many times slower
  std::vector<double> node_factor;
};

/// By rank; kNever if it was stopped before.
struct WriteTimes {
  std::vector<double> staged;   ///< all of its bytes are in host memory
  std::vector<double> written;  ///< and its file is synced
};

/// What a rank writes goes through in units, a bounded number of them at a
/// time: its device's copies, its own filling, its node's memory, its node's
/// disk or network, and the storage, each in the order in which units come.
///
/// An asynchronous save stages all that a rank holds, from its begin on; a
/// synchronous one what it writes, as buffers get free.
WriteTimes SimulateWrites(const SaveWork& work,
                          const SaveSimulationOptions& options,
                          const WriteConditions& conditions);

}  // namespace dcp

#endif  // DCP_SIMULATE_WRITE_SIMULATION_H_
