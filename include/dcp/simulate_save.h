// SimulateSave: what a save takes in a job that is not there, on a virtual
// clock.
//
// Every rank plans with the coordinator, stages, writes, waits for the others
// and learns what the coordinator published, as Save does it. What moves bytes
// does so at given rates, in order, and shared by all who use it. Nothing is
// measured: equal options give equal results, on every machine.

#ifndef DCP_SIMULATE_SAVE_H_
#define DCP_SIMULATE_SAVE_H_

#include <cstdint>
#include <optional>
#include <string>
#include <variant>
#include <vector>

#include "dcp/simulate.h"
#include "dcp/status.h"

namespace dcp {

/// What the ranks of a save have to do; a value for each rank in vectors.
struct SaveWork {
  std::vector<int64_t> written_nbytes;
  /// What it holds, which an asynchronous save stages: at least what it writes.
  std::vector<int64_t> held_nbytes;
  int64_t items = 0;  ///< that are written, by all
  int64_t metadata_nbytes = 0;
  PlanTraffic planning;
  /// Fewer than there are: ranks have the bytes of one of these, which is near.
  int64_t ranks_planned = 0;
};

/// Of a first save of the job, planned by the code that plans saves.
/// \error as SimulatePlan; kInvalidArgument  gather mode of a sample
StatusOr<SaveWork> PlanSaveWork(const PlanSimulationOptions& options);

/// Bytes a second; 0: no limit.
struct SaveRates {
  /// A rank's copies from its device. 0: the state is in host memory, and a
  /// synchronous save stages nothing.
  double device = 50e9;
  double rank = 4e9;      ///< a rank fills its blocks and checksums them
  double memory = 0;      ///< the same, of all ranks of a node together
  double node = 10e9;     ///< its disks or its network, for all of its ranks
  double storage = 0;     ///< what all nodes write to
  double messages = 1e9;  ///< what the coordinator sends or gets, one at a time
};

/// Seconds.
struct SaveCosts {
  double start = 0;       ///< before a rank makes its plan
  double latency = 1e-3;  ///< of a message
  double message =
      100e-6;  ///< the coordinator's, for each that it sends or gets
  /// A rank that has waited for 8 times as long looks whether to go on so
  /// often.
  double poll = 0.05;
  double file = 5e-3;  ///< a rank's, to make, sync and close its file
  double item =
      1e-6;  ///< the coordinator's, in planning and again in the commit
  double metadata_byte = 4e-9;  ///< the coordinator's: to make, write and pack
  double publish = 10e-3;       ///< to sync and rename `.metadata`
};

/// How ranks notice that others are gone (python/dcpcpp/_watch.py), and that
/// storage hangs (IoOptions::stall_timeout). Seconds.
struct SaveTimeouts {
  double heartbeat = 15;  ///< of silence after which a rank counts as gone
  double look = 0.1;      ///< between looks for what others have found
  double stall = 300;
};

enum class SaveMember : uint8_t { kRank, kNode };

/// A rank copies and fills, or a node writes, so many times slower.
struct Slowdown {
  SaveMember who = SaveMember::kRank;
  int64_t number = 0;
  double factor = 1;  ///< at least 1
};

enum class SavePhase : uint8_t { kPlan, kWrite, kMeet, kCommit };

enum class SaveFailureKind : uint8_t {
  kKilled,     ///< a rank's process ends; others of its node see it
  kHung,       ///< a rank stops without ending
  kNodeLost,   ///< all ranks of a node are gone without a word
  kNodeStalls  ///< a node's storage answers no more
};

struct SaveFailure {
  SaveFailureKind kind = SaveFailureKind::kKilled;
  int64_t number = 0;  ///< of the rank, or of the node
  /// Seconds after the begin of the save, or in the middle of a phase of the
  /// rank, of the node's last one for nodes.
  std::variant<SavePhase, double> at = SavePhase::kWrite;
};

struct SaveSimulationOptions {
  /// The trainer waits until the state is staged, not for the save.
  bool is_async = false;
  int64_t ranks_per_node = 8;
  SaveRates rates;
  SaveCosts costs;
  SaveTimeouts timeouts;
  int64_t buffer_nbytes = int64_t{128} << 20;  ///< a rank's, in flight
  std::vector<Slowdown> slow;
  /// Ranks that are drawn by `seed`, and how many times slower they are.
  int64_t stragglers = 0;
  double straggler_factor = 4;
  uint64_t seed = 0;
  std::optional<SaveFailure> failure;
};

/// Of a value of many: quantiles are one of the values.
struct Spread {
  double least = 0;
  double median = 0;
  double p99 = 0;
  double most = 0;
  double mean = 0;
};

struct SavePart {
  std::string name;
  Spread seconds;  ///< of the ranks that are alive at the end
};

enum class SaveEnd : uint8_t {
  kSaved,
  /// All ranks raise; nothing was published, what was there before is whole.
  kFailed,
  /// It is published and whole, but some ranks raise.
  kInDoubt,
};

/// What became of a failure.
struct SaveLoss {
  int64_t ranks = 0;   ///< that are gone, or whose storage is
  double seconds = 0;  ///< when, after the begin
  double noticed = 0;  ///< when the first other rank, or its own, found it out
  int64_t writing =
      0;  ///< living ranks that were not done with their part then
};

struct SaveSimulation {
  int64_t ranks = 0;
  int64_t nodes = 0;
  int64_t nbytes = 0;
  int64_t files = 0;
  Spread rank_nbytes;  ///< that are written
  Spread node_nbytes;
  /// "plan", "stage", "write", "meet" (waits for the others), "commit" (until
  /// its verdict), "total" and "blocked", of the trainer. Staging goes on
  /// during what comes after it.
  std::vector<SavePart> parts;
  double seconds = 0;     ///< until the last rank has ended
  int64_t last_rank = 0;  ///< that had written, of those alive
  /// The same with nobody slow and nothing lost.
  double even_seconds = 0;
  SaveEnd end = SaveEnd::kSaved;
  /// nullopt if nothing failed before the rank had ended.
  std::optional<SaveLoss> loss;
};

/// \error kInvalidArgument  a rate, cost or number that cannot be; vectors of
///     different lengths; a rank or node that is not there
StatusOr<SaveSimulation> SimulateSave(const SaveWork& work,
                                      const SaveSimulationOptions& options);

}  // namespace dcp

#endif  // DCP_SIMULATE_SAVE_H_
