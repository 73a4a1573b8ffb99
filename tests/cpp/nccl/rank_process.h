// RankJob: ranks that are processes, with transports over the stand-in.

#ifndef DCP_TESTS_NCCL_RANK_PROCESS_H_
#define DCP_TESTS_NCCL_RANK_PROCESS_H_

#include <memory>
#include <string>
#include <vector>

#include "base/unique_fd.h"
#include "dcp/transport.h"
#include "nccl/rank_wire.h"
#include "testing/temp_directory.h"

namespace dcp::testing {

struct RankJobOptions {
  int size = 2;
  double timeout_seconds = 60;
  /// Of the trainer's communicator.
  bool blocks = true;
};

class RankJob {
 public:
  explicit RankJob(const RankJobOptions& options);
  RankJob(const RankJob&) = delete;
  RankJob& operator=(const RankJob&) = delete;
  /// Waits for the ranks to end.
  ~RankJob();

  int size() const { return static_cast<int>(sockets_.size()); }
  /// What a rank answers; kUnavailable if it is gone. From any one thread at a
  /// time a rank.
  StatusOr<std::vector<std::string>> Ask(int rank, const RankMessage& message);
  /// The same of all ranks at the same time.
  std::vector<Status> AskAll(const RankMessage& message);
  /// Has a rank end itself in good order; does not wait.
  void Dismiss(int rank) { sockets_[static_cast<size_t>(rank)] = UniqueFd(); }
  /// kill(2), and until it is gone.
  void Kill(int rank, int signal);
  /// What a rank asked the stand-in for, a line a call.
  std::vector<std::string> CallsOf(int rank) const;

 private:
  TempDirectory directory_;
  std::vector<UniqueFd> sockets_;
  std::vector<pid_t> pids_;
};

/// A transport of each rank of a new job, for the conformance suite.
std::vector<std::unique_ptr<Transport>> MakeRemoteTransports(
    int world_size, double timeout_seconds);

}  // namespace dcp::testing

#endif  // DCP_TESTS_NCCL_RANK_PROCESS_H_
