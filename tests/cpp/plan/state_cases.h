// Random states of closed form, and the plans that ranks would gather of them.

#ifndef DCP_TESTS_PLAN_STATE_CASES_H_
#define DCP_TESTS_PLAN_STATE_CASES_H_

#include <algorithm>
#include <numeric>
#include <string>
#include <utility>
#include <vector>

#include "plan/plan_cases.h"
#include "plan/state_spec.h"

namespace dcp {

/// A job: its specs, and which rank has which.
struct Job {
  std::vector<StateSpec> specs;
  std::vector<uint32_t> spec_of_rank;
};

inline DeviceMesh MeshOf(Dims sizes, uint32_t first = 0) {
  DeviceMesh mesh{.sizes = std::move(sizes)};
  mesh.ranks.resize(static_cast<size_t>(Numel(mesh.sizes)));
  std::iota(mesh.ranks.begin(), mesh.ranks.end(), first);
  return mesh;
}

inline StateEntry WholeEntry(std::string fqn, const Dims& size,
                             DType dtype = DType::kFloat32) {
  return {.fqn = std::move(fqn),
          .value = WholeTensor{.properties = {.dtype = dtype},
                               .size = size,
                               .nbytes = Numel(size) * ItemSize(dtype)}};
}

inline StateEntry ObjectEntry(std::string fqn, int64_t nbytes) {
  return {.fqn = std::move(fqn), .value = StateObject{.nbytes = nbytes}};
}

/// Adds a tensor to `spec`, and its layout if that is new.
inline void AddLaidOut(StateSpec* spec, std::string fqn, TensorLayout layout,
                       DType dtype = DType::kFloat32) {
  auto& layouts = spec->layouts;
  const auto found = std::find(layouts.begin(), layouts.end(), layout);
  const auto number = static_cast<uint32_t>(found - layouts.begin());
  if (found == layouts.end()) layouts.push_back(std::move(layout));
  spec->entries.push_back(
      {.fqn = std::move(fqn),
       .value =
           LaidOutTensor{.properties = {.dtype = dtype}, .layout = number}});
}

/// Placements for a tensor of `ndim` dimensions over a mesh; often those of
/// FSDP2 over tensor parallelism, with a strided shard.
inline std::vector<Placement> RandomPlacements(Random* random, int ndim,
                                               const Dims& mesh_sizes) {
  std::vector<Placement> placements(static_cast<size_t>(mesh_sizes.size()));
  if (ndim == 0) return placements;
  const auto any_dim = [&] {
    return static_cast<int>(random->Between(0, ndim - 1));
  };
  for (Placement& placement : placements) {
    if (random->OneIn(2)) placement = Placement::Shard(any_dim());
  }
  if (placements.size() > 1 && random->OneIn(3)) {
    const int dim = any_dim();
    const int64_t shards = mesh_sizes[mesh_sizes.size() - 1];
    placements[placements.size() - 2] = Placement::StridedShard(dim, shards);
    placements.back() = Placement::Shard(dim);
  }
  return placements;
}

/// A local plan of the rank: what it would send to be gathered.
inline SavePlan LocalPlanOf(const StateSpec& spec, uint32_t rank) {
  std::vector<WriteItem> items;
  for (const StateEntry& entry : spec.entries) {
    if (const auto* object = std::get_if<StateObject>(&entry.value)) {
      items.push_back(ObjectItem(entry.fqn, object->nbytes));
      continue;
    }
    if (const auto* whole = std::get_if<WholeTensor>(&entry.value)) {
      items.push_back(WholeItem(entry.fqn, whole->size));
      items.back().properties = whole->properties;
      items.back().nbytes = whole->nbytes;
      continue;
    }
    const auto& laid_out = std::get<LaidOutTensor>(entry.value);
    const TensorLayout& layout = spec.layouts[laid_out.layout];
    const DeviceMesh& mesh = spec.meshes[layout.mesh];
    const auto at = std::find(mesh.ranks.begin(), mesh.ranks.end(), rank);
    if (at == mesh.ranks.end()) continue;
    const Dims coordinate = CoordinateOf(at - mesh.ranks.begin(), mesh.sizes);
    items.push_back(TensorItem(entry.fqn, layout.global_size,
                               *ChunkAt(layout, mesh.sizes, coordinate),
                               laid_out.properties.dtype));
    items.back().properties = laid_out.properties;
  }
  SavePlan plan = PlanOf(std::move(items));
  plan.planner_data = spec.planner_data;
  plan.ties = spec.ties;
  return plan;
}

inline std::vector<SavePlan> LocalPlansOf(const Job& job) {
  std::vector<SavePlan> plans;
  for (uint32_t rank = 0; rank < job.spec_of_rank.size(); ++rank) {
    plans.push_back(LocalPlanOf(job.specs[job.spec_of_rank[rank]], rank));
  }
  return plans;
}

inline bool HasWholeRuns(const Job& job) {
  for (const StateSpec& spec : job.specs) {
    for (const TensorLayout& layout : spec.layouts) {
      if (!HasWholeRuns(layout, spec.meshes[layout.mesh].sizes)) return false;
    }
  }
  return true;
}

inline bool Ascends(const Job& job) {
  for (const StateSpec& spec : job.specs) {
    const auto& ranks = spec.meshes[0].ranks;
    if (!std::is_sorted(ranks.begin(), ranks.end())) return false;
  }
  return true;
}

/// A job of up to four stages with meshes of one shape, whose ranks may take
/// turns. Stages have tensors of their own, and some that all of them have:
/// whole ones, objects, and laid out ones.
class JobMaker {
 public:
  explicit JobMaker(Random* random) : random_(random) {}

  Job Make() {
    const int64_t stages = random_->OneIn(2) ? 1 : random_->Between(2, 4);
    for (int64_t d = random_->Between(1, 3); d > 0; --d) {
      mesh_sizes_.push_back(random_->Between(1, d == 1 ? 4 : 2));
    }
    const int64_t each = Numel(mesh_sizes_);
    const bool takes_turns = random_->OneIn(2);
    for (int64_t rank = 0; rank < each * stages; ++rank) {
      job_.spec_of_rank.push_back(
          static_cast<uint32_t>(takes_turns ? rank % stages : rank / each));
    }
    job_.specs.resize(static_cast<size_t>(stages));
    AddMeshes();
    for (int i = 0; i < 12; ++i) AddKey("key" + std::to_string(i));
    for (StateSpec& spec : job_.specs) AddPaths(&spec);
    return std::move(job_);
  }

 private:
  void AddMeshes() {
    const bool is_shuffled = random_->OneIn(8);
    const bool has_flat = random_->OneIn(2);
    for (uint32_t i = 0; i < job_.specs.size(); ++i) {
      DeviceMesh mesh{.sizes = mesh_sizes_};
      for (uint32_t rank = 0; rank < job_.spec_of_rank.size(); ++rank) {
        if (job_.spec_of_rank[rank] == i) mesh.ranks.push_back(rank);
      }
      if (is_shuffled) {
        std::shuffle(mesh.ranks.begin(), mesh.ranks.end(), random_->engine);
      }
      DeviceMesh flat = mesh;
      flat.sizes = {Numel(mesh.sizes)};
      job_.specs[i].meshes = {std::move(mesh)};
      if (has_flat) job_.specs[i].meshes.push_back(std::move(flat));
    }
  }

  void AddKey(const std::string& fqn) {
    const auto stages = static_cast<int64_t>(job_.specs.size());
    const int64_t only =
        random_->OneIn(3) ? -1 : random_->Between(0, stages - 1);
    const int64_t kind = random_->Between(0, 3);
    const Dims size = random_->Sizes(3, 20);
    const int64_t nbytes = random_->Between(0, 3000);
    TensorLayout layout{.global_size = size};
    const auto meshes = static_cast<int64_t>(job_.specs[0].meshes.size());
    layout.mesh = static_cast<uint32_t>(random_->Between(0, meshes - 1));
    layout.placements = RandomPlacements(
        random_, size.size(), job_.specs[0].meshes[layout.mesh].sizes);
    for (int64_t i = 0; i < stages; ++i) {
      if (only >= 0 && only != i) continue;
      StateSpec& spec = job_.specs[static_cast<size_t>(i)];
      if (kind == 0) {
        spec.entries.push_back(ObjectEntry(fqn, nbytes + i));
      } else if (kind == 1) {
        spec.entries.push_back(WholeEntry(fqn, size));
      } else {
        AddLaidOut(&spec, fqn, layout);
      }
    }
  }

  void AddPaths(StateSpec* spec) {
    if (random_->OneIn(2)) return;
    spec->planner_data.emplace();
    for (const StateEntry& entry : spec->entries) {
      spec->planner_data->emplace(entry.fqn, ObjectPath{"a", entry.fqn});
    }
    spec->ties.emplace("tied", "key0");
  }

  Random* random_;
  Dims mesh_sizes_;
  Job job_;
};

}  // namespace dcp

#endif  // DCP_TESTS_PLAN_STATE_CASES_H_
