// mpirun -n 4 mpi_trainer CHECKPOINTS [STEPS [DIE_AT]]
//
// A trainer in C++ whose ranks are processes of MPI. A small network learns how
// far clocks are ahead of UTC from where on Earth they are. Every rank computes
// the gradient of its places and keeps its rows of Adam's moments; the weights
// are the same everywhere. It saves every 50 steps while it goes on, to
// CHECKPOINTS/step-50, ..., and begins with the newest that is there, on any
// number of ranks (clock_training.h). With DIE_AT the last rank kills itself at
// that step.
//
//   resumed from step 100
//   step 200: loss 7.322127
//   Paris (48.87 N, 2.33 E): 0.2169 hours ahead of UTC
//
// PyTorch loads what it saves:
//   state = {"model": {"w1": torch.empty(32, 2), ...}, "step": 0}
//   torch.distributed.checkpoint.load(state, checkpoint_id=CHECKPOINTS/step-50)

#include <mpi.h>

#include <cstdio>
#include <cstdlib>
#include <memory>
#include <string>
#include <vector>

#include "clock_training.h"
#include "dcp/mpi/transport.h"

namespace {

class MpiRanks final : public examples::Ranks {
 public:
  MpiRanks() {
    MPI_Comm_rank(MPI_COMM_WORLD, &rank_);
    MPI_Comm_size(MPI_COMM_WORLD, &world_size_);
  }
  int rank() const override { return rank_; }
  int world_size() const override { return world_size_; }
  dcp::Status Sum(std::vector<double>* values) override {
    // What fails ends the job, as is MPI's rule.
    MPI_Allreduce(MPI_IN_PLACE, values->data(),
                  static_cast<int>(values->size()), MPI_DOUBLE, MPI_SUM,
                  MPI_COMM_WORLD);
    return {};
  }

 private:
  int rank_ = 0;
  int world_size_ = 1;
};

dcp::Status Train(const examples::TrainOptions& options) {
  MpiRanks ranks;
  DCP_ASSIGN_OR_RETURN(std::shared_ptr<dcp::Transport> transport,
                       dcp::MakeMpiTransport(MPI_COMM_WORLD));
  return examples::Train(options, ranks, transport);
}

}  // namespace

int main(int argc, char** argv) {
  int level = MPI_THREAD_SINGLE;
  // A save talks in a thread of its own while the training does in this one.
  MPI_Init_thread(&argc, &argv, MPI_THREAD_MULTIPLE, &level);
  if (level < MPI_THREAD_MULTIPLE) {
    std::fprintf(stderr, "mpi_trainer: this MPI has no MPI_THREAD_MULTIPLE\n");
    MPI_Abort(MPI_COMM_WORLD, 1);
  }
  const int64_t steps = argc > 2 ? std::atoll(argv[2]) : 200;
  if (argc < 2 || steps < 1) {
    std::fprintf(stderr, "usage: mpi_trainer CHECKPOINTS [STEPS [DIE_AT]]\n");
    MPI_Finalize();
    return 2;
  }
  const dcp::Status status =
      Train({.folder = argv[1],
             .steps = steps,
             .die_at = argc > 3 ? std::atoll(argv[3]) : 0});
  if (!status.ok()) {
    std::fprintf(stderr, "mpi_trainer: %s\n",
                 std::string(dcp::Message(status)).c_str());
    MPI_Abort(MPI_COMM_WORLD, 1);
  }
  MPI_Finalize();
  return 0;
}
