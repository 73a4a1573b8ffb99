// Train: a training loop that saves every 50 steps while it goes on, to
// FOLDER/step-50, ..., and begins with the newest that is there, on any number
// of ranks. What it trains: clock_network.h.

#ifndef EXAMPLES_CLOCK_TRAINING_H_
#define EXAMPLES_CLOCK_TRAINING_H_

#include <array>
#include <csignal>
#include <cstdio>
#include <memory>
#include <string>
#include <utility>
#include <vector>

#include "clock_network.h"
#include "dcp/async_save.h"
#include "dcp/latest.h"

namespace examples {

constexpr int64_t kSaveInterval = 50;

/// The leaves of the state. Views own nothing: the trainer must not change it
/// until WaitStaged has returned.
inline dcp::StatusOr<std::vector<dcp::SaveEntry>> MakeEntries(
    Trainer& trainer) {
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
    DCP_ASSIGN_OR_RETURN(const auto saved, examples::MakeEntries(trainer_));
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
inline dcp::Status LoadLatest(const std::string& folder,
                              dcp::Transport& transport, Trainer& trainer) {
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

struct TrainOptions {
  std::string folder;  ///< of the checkpoints
  int64_t steps = 200;
  int64_t die_at = 0;  ///< the step at which the last rank kills itself
};

/// Trains from the newest step of the folder on, and saves meanwhile over
/// `transport`.
inline dcp::Status Train(const TrainOptions& options, Ranks& ranks,
                         const std::shared_ptr<dcp::Transport>& transport) {
  Trainer trainer = MakeTrainer(ranks);
  if (trainer.places.empty()) {
    return dcp::NotFound("/usr/share/zoneinfo: install the package tzdata");
  }
  DCP_RETURN_IF_ERROR(LoadLatest(options.folder, *transport, trainer));
  std::unique_ptr<dcp::AsyncSaveHandle> save;
  while (trainer.step < options.steps) {
    DCP_ASSIGN_OR_RETURN(const auto gradient, ComputeGradient(trainer, ranks));
    // The save's copy was made meanwhile; now the weights change.
    if (save) DCP_RETURN_IF_ERROR(save->WaitStaged());
    ++trainer.step;
    DCP_RETURN_IF_ERROR(Update(gradient, ranks, &trainer));
    if (trainer.rank == 0 && trainer.step == options.steps) {
      std::printf("step %lld: loss %.6f\n",
                  static_cast<long long>(options.steps), gradient.back());
    }
    if (trainer.step == options.die_at &&
        trainer.rank == trainer.world_size - 1) {
      std::raise(SIGKILL);
    }
    if (trainer.step % kSaveInterval != 0) continue;
    // One save at a time; the last one had 50 steps to end.
    if (save) DCP_RETURN_IF_ERROR(save->Wait().status());
    const std::string path =
        options.folder + "/step-" + std::to_string(trainer.step);
    save = dcp::AsyncSave(MakeEntries(trainer), nullptr,
                          {.writer = dcp::MakeFileSystemWriter({.path = path}),
                           .transport = transport});
  }
  if (save) DCP_RETURN_IF_ERROR(save->Wait().status());
  if (trainer.rank == 0) {
    std::array<double, kHidden> hidden{};
    const Place paris{.latitude = 48.87F, .longitude = 2.33F};
    std::printf("Paris (48.87 N, 2.33 E): %.4f hours ahead of UTC\n",
                Predict(trainer, paris, &hidden));
  }
  return {};
}

}  // namespace examples

#endif  // EXAMPLES_CLOCK_TRAINING_H_
