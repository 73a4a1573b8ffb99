// Saves whose planning is looked at: what ranks ask each other, how often, and
// in how many bytes.

#ifndef DCP_TESTS_CHECKPOINT_PLANNED_SAVES_H_
#define DCP_TESTS_CHECKPOINT_PLANNED_SAVES_H_

#include <algorithm>
#include <functional>
#include <map>
#include <memory>
#include <string>
#include <utility>
#include <vector>

#include "checkpoint/rank_threads.h"
#include "conformance/storage_conformance.h"
#include "plan/state_cases.h"

namespace dcp {

/// What a rank sends until bytes move.
struct PlanningTraffic {
  std::string calls;  ///< G for Gather, S for Scatter, B for Broadcast
  size_t nbytes = 0;  ///< in the messages that it passed
};

/// Another transport, whose messages are counted, and may be changed.
class WatchedTransport final : public Transport {
 public:
  /// Changes a message of the rank's call, the first being 1.
  using Change = std::function<void(int call, std::string* message)>;

  explicit WatchedTransport(std::unique_ptr<Transport> inner)
      : inner_(std::move(inner)) {}

  /// Counts from 0 again.
  void BeginSave() {
    traffic_ = {};
    is_planning_ = true;
  }
  const PlanningTraffic& traffic() const { return traffic_; }
  /// Of messages that are gathered from this rank.
  void set_change(Change change) { change_ = std::move(change); }
  /// Of replies to it, scattered or broadcast, until bytes move.
  void set_reply_change(Change change) { reply_change_ = std::move(change); }

  int rank() const override { return inner_->rank(); }
  int world_size() const override { return inner_->world_size(); }
  StatusOr<std::vector<std::string>> Gather(std::string_view message) override {
    std::string sent(message);
    Note('G', sent.size());
    if (change_) change_(static_cast<int>(traffic_.calls.size()), &sent);
    return inner_->Gather(sent);
  }
  StatusOr<std::string> Scatter(
      std::span<const std::string> messages) override {
    size_t nbytes = 0;
    for (const std::string& message : messages) nbytes += message.size();
    Note('S', nbytes);
    return Changed(inner_->Scatter(messages));
  }
  StatusOr<std::string> Broadcast(std::string_view message) override {
    Note('B', message.size());
    return Changed(inner_->Broadcast(message));
  }
  Status AwaitAll(std::string_view phase) override {
    is_planning_ = false;
    return inner_->AwaitAll(phase);
  }

 private:
  StatusOr<std::string> Changed(StatusOr<std::string> reply) {
    if (reply_change_ && reply.ok() && is_planning_) {
      reply_change_(static_cast<int>(traffic_.calls.size()), &*reply);
    }
    return reply;
  }

  void Note(char call, size_t nbytes) {
    if (!is_planning_) return;
    traffic_.calls += call;
    traffic_.nbytes += nbytes;
  }

  const std::unique_ptr<Transport> inner_;
  PlanningTraffic traffic_;
  bool is_planning_ = true;
  Change change_;
  Change reply_change_;
};

/// Ranks that save several times, each with a cache of its own.
class SavingRanks {
 public:
  explicit SavingRanks(size_t count) : caches(count) {
    for (auto& transport :
         MakeThreadTransports(static_cast<int>(count), kRankTimeoutSeconds)) {
      transports.push_back(
          std::make_unique<WatchedTransport>(std::move(transport)));
    }
    for (auto& cache : caches) cache = std::make_shared<PlanCache>();
  }

  /// With the options of each rank, or with one for all.
  std::vector<StatusOr<SaveResult>> Save(
      const AllEntries& entries, const conformance::StorageUnderTest& storage,
      std::vector<SaveOptions> options = {{}}) {
    options.resize(entries.size(), options[0]);
    return OnRanks<StatusOr<SaveResult>>(entries.size(), [&](size_t rank) {
      const auto writer = storage.make_writer();
      options[rank].plan_cache = caches[rank];
      transports[rank]->BeginSave();
      return dcp::Save(entries[rank].span(), *writer, *transports[rank],
                       options[rank]);
    });
  }

  /// The calls of the last save's planning.
  std::string calls() const { return transports[0]->traffic().calls; }
  /// The most bytes that a rank passed, but for the coordinator.
  size_t nbytes() const {
    size_t most = 0;
    for (size_t rank = 1; rank < transports.size(); ++rank) {
      most = std::max(most, transports[rank]->traffic().nbytes);
    }
    return most;
  }

  std::vector<std::unique_ptr<WatchedTransport>> transports;
  std::vector<std::shared_ptr<PlanCache>> caches;
};

/// The layouts of a spec for `rank`, which is in all of its meshes.
inline std::vector<std::shared_ptr<const MeshLayout>> LayoutsFor(
    uint32_t rank, const StateSpec& spec) {
  std::vector<std::shared_ptr<const DeviceMesh>> meshes;
  for (const DeviceMesh& mesh : spec.meshes) {
    meshes.push_back(std::make_shared<DeviceMesh>(mesh));
  }
  std::vector<std::shared_ptr<const MeshLayout>> layouts;
  for (const TensorLayout& layout : spec.layouts) {
    const DeviceMesh& mesh = spec.meshes[layout.mesh];
    const auto at = std::find(mesh.ranks.begin(), mesh.ranks.end(), rank);
    MeshLayout made{.mesh = meshes[layout.mesh],
                    .placements = layout.placements};
    made.coordinate = CoordinateOf(at - mesh.ranks.begin(), mesh.sizes);
    layouts.push_back(std::make_shared<MeshLayout>(std::move(made)));
  }
  return layouts;
}

/// A job with its tensors and objects.
struct SavedJob {
  conformance::State state;
  AllEntries entries;
};

/// Random tensors for `job`. An object is the same on all ranks.
inline SavedJob Filled(const Job& job) {
  SavedJob saved{.entries = AllEntries(job.spec_of_rank.size())};
  for (uint32_t rank = 0; rank < saved.entries.size(); ++rank) {
    const StateSpec& spec = job.specs[job.spec_of_rank[rank]];
    const auto layouts = LayoutsFor(rank, spec);
    RankEntries& mine = saved.entries[rank];
    const auto tensor = [&](const std::string& fqn, DType dtype,
                            const Dims& size) -> const auto& {
      const auto seed = saved.state.tensors.size();
      return saved.state.tensors
          .try_emplace(fqn, conformance::RandomTensor(seed, dtype, size))
          .first->second;
    };
    for (const StateEntry& entry : spec.entries) {
      if (const auto* whole = std::get_if<WholeTensor>(&entry.value)) {
        mine.AddWhole(entry.fqn,
                      tensor(entry.fqn, whole->properties.dtype, whole->size));
      } else if (const auto* laid_out =
                     std::get_if<LaidOutTensor>(&entry.value)) {
        mine.AddLaidOut(entry.fqn,
                        tensor(entry.fqn, laid_out->properties.dtype,
                               spec.layouts[laid_out->layout].global_size),
                        layouts[laid_out->layout]);
      } else {
        const auto object = saved.state.objects.try_emplace(
            entry.fqn, conformance::ObjectOf(
                           static_cast<int64_t>(saved.state.objects.size())));
        mine.AddObject(entry.fqn, object.first->second);
      }
    }
  }
  return saved;
}

/// Two pipeline stages of `each` ranks with tensors sharded over them, a
/// replicated one and an object that both have.
inline Job TwoStages(uint32_t each) {
  Job job;
  for (uint32_t stage = 0; stage < 2; ++stage) {
    StateSpec& spec = job.specs.emplace_back();
    spec.meshes = {MeshOf({int64_t{each}}, stage * each)};
    for (int i = 0; i < 50; ++i) {
      AddLaidOut(&spec,
                 "layers." + std::to_string(stage) + "." + std::to_string(i),
                 {{17, 3}, 0, {Placement::Shard(0)}});
    }
    spec.entries.push_back(WholeEntry("whole", {5}));
    spec.entries.push_back(ObjectEntry("step", 1));
    job.spec_of_rank.insert(job.spec_of_rank.end(), each, stage);
  }
  return job;
}

}  // namespace dcp

#endif  // DCP_TESTS_CHECKPOINT_PLANNED_SAVES_H_
