// mpirun -n 4 mpi_trainer CHECKPOINTS [STEPS [DIE_AT]]
//
// A trainer in C++ whose ranks are processes of MPI. A small network learns how
// far clocks are ahead of UTC from where on Earth they are. Every rank computes
// the gradient of its places and keeps its rows of Adam's moments; the weights
// are the same everywhere. It saves every 50 steps while it goes on, to
// CHECKPOINTS/step-50, ..., and begins with the newest that is there, on any
// number of ranks. With DIE_AT the last rank kills itself at that step.
//
//   resumed from step 100
//   step 200: loss 7.322127
//   Paris (48.87 N, 2.33 E): 0.2169 hours ahead of UTC
//
// PyTorch loads what it saves:
//   state = {"model": {"w1": torch.empty(32, 2), ...}, "step": 0}
//   torch.distributed.checkpoint.load(state, checkpoint_id=CHECKPOINTS/step-50)

#include <array>
#include <csignal>
#include <cstdio>
#include <cstdlib>
#include <memory>
#include <string>
#include <utility>
#include <vector>

#include "clock_network.h"
#include "dcp/async_save.h"
#include "dcp/latest.h"
#include "dcp/mpi/transport.h"

namespace {

using examples::Parameter;
using examples::Trainer;

constexpr int64_t kSaveInterval = 50;

/// The leaves of the state. Views own nothing: the trainer must not change it
/// until WaitStaged has returned.
dcp::StatusOr<std::vector<dcp::SaveEntry>> MakeEntries(Trainer& trainer) {
  std::vector<dcp::SaveEntry> entries;
  constexpr auto kFloat = dcp::DType::kFloat32;
  for (Parameter& p : trainer.parameters) {
    // A tensor that all ranks hold is written by one of them.
    entries.push_back(
        dcp::TensorEntry("model." + p.name,
                         dcp::ContiguousView(p.value.data(), kFloat, p.shape)));
    entries.back().path = {"model", p.name};
    // A rank without rows has nothing to say of the moments.
    if (p.row_count == 0) continue;
    const auto add_moment = [&](const char* moment, std::vector<float>& rows) {
      entries.push_back(dcp::ShardEntry(
          "optim." + p.name + "." + moment,
          dcp::ContiguousView(rows.data(), kFloat, p.own_shape()), p.shape,
          p.own_offsets()));
      entries.back().path = {"optim", p.name, moment};
    };
    add_moment("exp_avg", p.exp_avg);
    add_moment("exp_avg_sq", p.exp_avg_sq);
  }
  DCP_ASSIGN_OR_RETURN(auto step, dcp::ObjectEntry("step", {trainer.step}));
  entries.push_back(std::move(step));
  return entries;
}

/// Asks for the same leaves, to be filled in place.
class Resume : public dcp::LoadRequest {
 public:
  explicit Resume(Trainer& trainer) : trainer_(trainer) {}

  dcp::StatusOr<std::vector<dcp::LoadEntry>> MakeEntries(
      const dcp::Metadata&) override {
    DCP_ASSIGN_OR_RETURN(const auto saved, ::MakeEntries(trainer_));
    std::vector<dcp::LoadEntry> entries;
    for (const dcp::SaveEntry& entry : saved) {
      const auto* shard = std::get_if<dcp::TensorShard>(&entry.value);
      entries.push_back(shard == nullptr
                            ? dcp::ObjectLoad(entry.fqn)
                            : dcp::ShardLoad(entry.fqn, shard->view,
                                             shard->global_size,
                                             shard->offsets));
    }
    return entries;
  }

  dcp::Status Accept(dcp::LoadResult& result) override {
    for (const dcp::LoadedObject& object : result.objects) {
      DCP_ASSIGN_OR_RETURN(const auto value, dcp::DecodeObject(object.bytes));
      const auto* step = std::get_if<int64_t>(&value.value);
      if (step == nullptr) return dcp::DataLoss("step is not a number");
      trainer_.step = *step;
    }
    return {};
  }

 private:
  Trainer& trainer_;
};

/// Loads the newest step of `folder`, which rank 0 finds for all.
dcp::Status LoadLatest(const std::string& folder, dcp::Transport& transport,
                       Trainer& trainer) {
  std::string path;
  dcp::Status found;
  if (trainer.rank == 0) {
    const auto latest = dcp::FindLatest(folder);
    found = latest.status();
    if (latest.ok() && latest->found) path = latest->found->path;
  }
  DCP_ASSIGN_OR_RETURN(path, transport.Broadcast(path));
  DCP_RETURN_IF_ERROR(found);
  if (path.empty()) return {};
  Resume request(trainer);
  const auto reader = dcp::MakeFileSystemReader({.path = path});
  DCP_RETURN_IF_ERROR(dcp::Load(request, *reader, transport, {}).status());
  if (trainer.rank == 0) {
    std::printf("resumed from step %lld\n",
                static_cast<long long>(trainer.step));
  }
  return {};
}

dcp::Status Train(const std::string& folder, int64_t steps, int64_t die_at) {
  Trainer trainer = examples::MakeTrainer();
  if (trainer.places.empty()) {
    return dcp::NotFound("/usr/share/zoneinfo: install the package tzdata");
  }
  DCP_ASSIGN_OR_RETURN(std::shared_ptr<dcp::Transport> transport,
                       dcp::MakeMpiTransport(MPI_COMM_WORLD));
  DCP_RETURN_IF_ERROR(LoadLatest(folder, *transport, trainer));
  std::unique_ptr<dcp::AsyncSaveHandle> save;
  while (trainer.step < steps) {
    const std::vector<double> gradient = examples::ComputeGradient(trainer);
    // The save's copy was made meanwhile; now the weights change.
    if (save) DCP_RETURN_IF_ERROR(save->WaitStaged());
    ++trainer.step;
    const double* slope = gradient.data();
    for (Parameter& parameter : trainer.parameters) {
      examples::Update(trainer, slope, &parameter);
      slope += parameter.value.size();
    }
    if (trainer.rank == 0 && trainer.step == steps) {
      std::printf("step %lld: loss %.6f\n", static_cast<long long>(steps),
                  gradient.back());
    }
    if (trainer.step == die_at && trainer.rank == trainer.world_size - 1) {
      std::raise(SIGKILL);
    }
    if (trainer.step % kSaveInterval != 0) continue;
    // One save at a time; the last one had 50 steps to end.
    if (save) DCP_RETURN_IF_ERROR(save->Wait().status());
    const std::string path = folder + "/step-" + std::to_string(trainer.step);
    save = dcp::AsyncSave(MakeEntries(trainer), nullptr,
                          {.writer = dcp::MakeFileSystemWriter({.path = path}),
                           .transport = transport});
  }
  if (save) DCP_RETURN_IF_ERROR(save->Wait().status());
  if (trainer.rank == 0) {
    std::array<double, examples::kHidden> hidden{};
    const examples::Place paris{.latitude = 48.87F, .longitude = 2.33F};
    std::printf("Paris (48.87 N, 2.33 E): %.4f hours ahead of UTC\n",
                examples::Predict(trainer, paris, &hidden));
  }
  return {};
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
      Train(argv[1], steps, argc > 3 ? std::atoll(argv[3]) : 0);
  if (!status.ok()) {
    std::fprintf(stderr, "mpi_trainer: %s\n",
                 std::string(dcp::Message(status)).c_str());
    MPI_Abort(MPI_COMM_WORLD, 1);
  }
  MPI_Finalize();
  return 0;
}
