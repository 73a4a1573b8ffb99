// nccl_trainer CHECKPOINTS RANKS [STEPS [DIE_AT]]
//
// mpi_trainer.cc with NCCL in the place of MPI: RANKS processes, each with a
// GPU of this machine, learn how far clocks are ahead of UTC. They save every
// 50 steps while they go on, and begin with the newest step that is there, on
// any number of ranks (clock_training.h). The gradients are computed on the
// host and summed by NCCL on the GPUs. With DIE_AT the last rank kills itself
// at that step, which ends the others.
//
//   resumed from step 100
//   step 200: loss 7.322127
//
// Exits with 77 and says why where there are no GPUs or no NCCL.

#include <sys/mman.h>
#include <sys/wait.h>
#include <unistd.h>

#include <atomic>
#include <csignal>
#include <cstdio>
#include <cstdlib>
#include <memory>
#include <string>
#include <vector>

#include "clock_training.h"
#include "dcp/nccl_transport.h"
#include "nccl_ranks.h"

namespace {

using examples::CudaAndNccl;
using examples::NcclRanks;

constexpr int kSkipped = 77;

/// How rank 0 tells the others the id: memory that the processes share.
struct Meeting {
  std::atomic<bool> is_ready = false;
  examples::NcclUniqueId id;
};

dcp::Status Train(const CudaAndNccl& api, const examples::NcclUniqueId& id,
                  int rank, int world_size,
                  const examples::TrainOptions& options) {
  DCP_ASSIGN_OR_RETURN(const auto ranks,
                       NcclRanks::Make(api, id, rank, world_size));
  // Here the communicator is split; a save in the background uses the split.
  DCP_ASSIGN_OR_RETURN(std::shared_ptr<dcp::Transport> transport,
                       dcp::MakeNcclTransport(ranks->comm()));
  return examples::Train(options, *ranks, transport);
}

/// A rank's life; its exit code.
int RunRank(int rank, int world_size, const examples::TrainOptions& options,
            Meeting* meeting) {
  const auto api = CudaAndNccl::Find();
  if (!api.ok() || api->device_count < world_size) {
    const std::string why =
        api.ok()
            ? "has " + std::to_string(api->device_count)
            : std::string("has ") + std::string(dcp::Message(api.status()));
    if (rank == 0) {
      std::fprintf(stderr,
                   "nccl_trainer: skipped: it needs NCCL and %d GPU(s), and "
                   "this machine %s\n",
                   world_size, why.c_str());
    }
    return kSkipped;
  }
  if (rank == 0) {
    api->get_unique_id(&meeting->id);
    meeting->is_ready = true;
  }
  while (!meeting->is_ready) usleep(1000);
  const dcp::Status status =
      Train(*api, meeting->id, rank, world_size, options);
  if (status.ok()) return 0;
  std::fprintf(stderr, "nccl_trainer: rank %d: %s\n", rank,
               std::string(dcp::Message(status)).c_str());
  return 1;
}

/// Ends the other ranks when one has failed; its exit code, or 1.
int AwaitRanks(std::vector<pid_t> pids) {
  int code = 0;
  for (size_t left = pids.size(); left > 0; --left) {
    int status = 0;
    const pid_t ended = wait(&status);
    std::erase(pids, ended);
    if (status == 0 || code != 0) continue;
    code = WIFEXITED(status) ? WEXITSTATUS(status) : 1;
    if (code == kSkipped) continue;
    for (const pid_t pid : pids) kill(pid, SIGTERM);
  }
  return code;
}

}  // namespace

int main(int argc, char** argv) {
  const int world_size = argc > 2 ? std::atoi(argv[2]) : 0;
  const int64_t steps = argc > 3 ? std::atoll(argv[3]) : 200;
  if (world_size < 1 || steps < 1) {
    std::fprintf(stderr,
                 "usage: nccl_trainer CHECKPOINTS RANKS [STEPS [DIE_AT]]\n");
    return 2;
  }
  const examples::TrainOptions options{
      .folder = argv[1],
      .steps = steps,
      .die_at = argc > 4 ? std::atoll(argv[4]) : 0};
  void* const shared = mmap(nullptr, sizeof(Meeting), PROT_READ | PROT_WRITE,
                            MAP_SHARED | MAP_ANONYMOUS, -1, 0);
  if (shared == MAP_FAILED) return 1;
  auto* const meeting = new (shared) Meeting;
  // Before any of them uses CUDA, which does not survive a fork.
  std::vector<pid_t> pids;
  for (int rank = 0; rank < world_size; ++rank) {
    const pid_t pid = fork();
    if (pid < 0) return 1;
    if (pid == 0) return RunRank(rank, world_size, options, meeting);
    pids.push_back(pid);
  }
  return AwaitRanks(pids);
}
