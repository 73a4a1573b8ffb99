#include "simulate/simulated_job.h"

#include <algorithm>
#include <numeric>
#include <string>
#include <unordered_map>
#include <utility>

namespace dcp {
namespace {

constexpr int64_t kMaxRanks = int64_t{1} << 24;

/// How a tensor lies over the ranks of a stage.
struct StageLayout {
  Dims mesh_sizes;
  std::vector<Placement> placements;

  void Add(int64_t degree, const Placement& placement) {
    if (degree == 1) return;
    mesh_sizes.push_back(degree);
    placements.push_back(placement);
  }
};

StageLayout LayoutOf(const ModelTensor& tensor,
                     const ParallelDegrees& degrees) {
  StageLayout layout;
  layout.Add(degrees.dp_replicate, Placement::Replicate());
  if (tensor.role == TensorRole::kExperts && degrees.ep > 1) {
    const int64_t shards = degrees.dp * degrees.tp / degrees.ep;
    const bool has_enough = shards * degrees.ep <= tensor.shape[0];
    layout.Add(shards, has_enough ? Placement::StridedShard(0, degrees.ep)
                                  : Placement::Shard(1));
    layout.Add(degrees.ep, Placement::Shard(0));
    return layout;
  }
  const bool is_strided = degrees.tp > 1 && tensor.tp_dim == 0;
  layout.Add(degrees.dp, is_strided ? Placement::StridedShard(0, degrees.tp)
                                    : Placement::Shard(0));
  layout.Add(degrees.tp, tensor.tp_dim < 0 ? Placement::Replicate()
                                           : Placement::Shard(tensor.tp_dim));
  return layout;
}

/// Makes the spec of the ranks of a stage, `count` from `first` on.
class SpecMaker {
 public:
  SpecMaker(const ParallelDegrees& degrees, int64_t first)
      : degrees_(degrees), first_(first) {}

  /// With what the optimizer has of it.
  void Add(const ModelTensor& tensor) {
    AddTensor({"model", tensor.fqn}, tensor);
    if (tensor.role == TensorRole::kBuffer) return;
    AddTensor({"optim", "state", tensor.fqn, "exp_avg"}, tensor);
    AddTensor({"optim", "state", tensor.fqn, "exp_avg_sq"}, tensor);
    AddWhole({"optim", "state", tensor.fqn, "step"}, {});
  }
  StateSpec Take() && {
    spec_.planner_data = std::move(paths_);
    return std::move(spec_);
  }

 private:
  void AddTensor(const ObjectPath& path, const ModelTensor& tensor) {
    StageLayout layout;
    if (tensor.role != TensorRole::kBuffer) layout = LayoutOf(tensor, degrees_);
    if (layout.mesh_sizes.empty()) {
      AddWhole(path, tensor.shape);
      return;
    }
    const uint32_t mesh = MeshNumber(layout.mesh_sizes);
    AddEntry(path, LaidOutTensor{.layout = LayoutNumber(
                                     {.global_size = tensor.shape,
                                      .mesh = mesh,
                                      .placements = layout.placements})});
  }

  void AddWhole(const ObjectPath& path, const Dims& size) {
    AddEntry(path, WholeTensor{.size = size, .nbytes = Numel(size) * 4});
  }

  template <typename Value>
  void AddEntry(const ObjectPath& path, Value value) {
    std::string fqn;
    for (const PathItem& step : path) {
      if (!fqn.empty()) fqn += '.';
      fqn += std::get<std::string>(step);
    }
    paths_.emplace(fqn, path);
    spec_.entries.push_back({.fqn = std::move(fqn), .value = std::move(value)});
  }

  uint32_t MeshNumber(const Dims& sizes) {
    auto& meshes = spec_.meshes;
    const auto found = std::find_if(
        meshes.begin(), meshes.end(),
        [&](const DeviceMesh& mesh) { return mesh.sizes == sizes; });
    const auto number = static_cast<uint32_t>(found - meshes.begin());
    if (found == meshes.end()) {
      DeviceMesh mesh{.sizes = sizes};
      mesh.ranks.resize(static_cast<size_t>(Numel(sizes)));
      std::iota(mesh.ranks.begin(), mesh.ranks.end(),
                static_cast<uint32_t>(first_));
      meshes.push_back(std::move(mesh));
    }
    return number;
  }

  uint32_t LayoutNumber(const TensorLayout& layout) {
    auto& layouts = spec_.layouts;
    const auto found = std::find(layouts.begin(), layouts.end(), layout);
    const auto number = static_cast<uint32_t>(found - layouts.begin());
    if (found == layouts.end()) layouts.push_back(layout);
    return number;
  }

  const ParallelDegrees& degrees_;
  const int64_t first_;
  StateSpec spec_;
  std::unordered_map<std::string, ObjectPath> paths_;
};

Status CheckDegrees(const ModelShape& model, const ParallelDegrees& degrees) {
  int64_t ranks = 1;
  for (const int64_t degree :
       {degrees.dp_replicate, degrees.dp, degrees.tp, degrees.pp}) {
    if (degree < 1 || degree > kMaxRanks || ranks * degree > kMaxRanks) {
      return InvalidArgument(
          "degrees of parallelism must be at least 1, and together at most " +
          std::to_string(kMaxRanks) + " ranks");
    }
    ranks *= degree;
  }
  if (degrees.pp > model.units) {
    return InvalidArgument("pp=" + std::to_string(degrees.pp) +
                           " stages are more than the " +
                           std::to_string(model.units) +
                           " layers, with the embeddings and the output");
  }
  const int64_t ep = degrees.ep;
  if (ep == 1) return absl::OkStatus();
  if (ep < 1 || model.experts == 0 || model.experts % ep != 0) {
    return InvalidArgument("ep=" + std::to_string(ep) +
                           " does not divide the model's " +
                           std::to_string(model.experts) + " experts");
  }
  if (degrees.dp * degrees.tp % ep != 0 || ep % degrees.tp != 0) {
    return InvalidArgument(
        "ep=" + std::to_string(ep) +
        " must divide dp * tp = " + std::to_string(degrees.dp * degrees.tp) +
        " and be a multiple of tp=" + std::to_string(degrees.tp));
  }
  return absl::OkStatus();
}

/// The first of a stage's units: stages have as many each, the first ones one
/// more.
int64_t FirstUnit(int64_t stage, const ModelShape& model, int64_t stages) {
  const int64_t each = model.units / stages;
  return stage * each + std::min(stage, model.units % stages);
}

StateSpec SpecOfStage(int64_t stage, const ModelShape& model,
                      const ParallelDegrees& degrees) {
  SpecMaker maker(degrees, stage * (degrees.ranks() / degrees.pp));
  const int64_t begin = FirstUnit(stage, model, degrees.pp);
  const int64_t end = FirstUnit(stage + 1, model, degrees.pp);
  for (const ModelTensor& tensor : model.tensors) {
    if (tensor.unit >= begin && tensor.unit < end) maker.Add(tensor);
  }
  return std::move(maker).Take();
}

/// The item of an entry; if it is laid out, without its chunk.
WriteItem ItemOf(const StateSpec& spec, const StateEntry& entry) {
  WriteItem item{.fqn = entry.fqn, .type = WriteItemType::kShard};
  if (const auto* laid_out = std::get_if<LaidOutTensor>(&entry.value)) {
    item.global_size = spec.layouts[laid_out->layout].global_size;
    item.properties = laid_out->properties;
    return item;
  }
  const auto& whole = std::get<WholeTensor>(entry.value);
  item.type = WriteItemType::kTensor;
  item.chunk = WholeBox(whole.size);
  item.global_size = whole.size;
  item.properties = whole.properties;
  item.nbytes = whole.nbytes;
  return item;
}

}  // namespace

int64_t SimulatedJob::items() const {
  int64_t sum = 0;
  for (const uint32_t spec : spec_of_rank) {
    sum += static_cast<int64_t>(specs[spec].entries.size());
  }
  return sum;
}

StatusOr<SimulatedJob> MakeSimulatedJob(const ModelShape& model,
                                        const ParallelDegrees& degrees) {
  DCP_RETURN_IF_ERROR(CheckDegrees(model, degrees));
  SimulatedJob job;
  const auto each = static_cast<size_t>(degrees.ranks() / degrees.pp);
  for (int64_t stage = 0; stage < degrees.pp; ++stage) {
    job.specs.push_back(SpecOfStage(stage, model, degrees));
    job.spec_of_rank.insert(job.spec_of_rank.end(), each,
                            static_cast<uint32_t>(stage));
  }
  return job;
}

LocalPlans::LocalPlans(const SimulatedJob& job) : job_(job) {
  for (const StateSpec& spec : job.specs) {
    SavePlan plan{.planner_data = spec.planner_data};
    for (const StateEntry& entry : spec.entries) {
      plan.items.push_back(ItemOf(spec, entry));
      plan.items.back().source = static_cast<int64_t>(plan.items.size()) - 1;
    }
    plans_.push_back(std::move(plan));
  }
}

const SavePlan& LocalPlans::Of(uint32_t rank) {
  const uint32_t number = job_.spec_of_rank[rank];
  const StateSpec& spec = job_.specs[number];
  std::vector<Box> chunks;
  for (const TensorLayout& layout : spec.layouts) {
    const DeviceMesh& mesh = spec.meshes[layout.mesh];
    const Dims coordinate =
        CoordinateOf(int64_t{rank} - mesh.ranks[0], mesh.sizes);
    chunks.push_back(KnownChunkAt(layout, mesh.sizes, coordinate));
  }
  SavePlan& plan = plans_[number];
  for (size_t i = 0; i < plan.items.size(); ++i) {
    const auto* laid_out = std::get_if<LaidOutTensor>(&spec.entries[i].value);
    if (laid_out == nullptr) continue;
    WriteItem& item = plan.items[i];
    item.chunk = chunks[laid_out->layout];
    item.nbytes = item.chunk.numel() * ItemSize(item.properties.dtype);
  }
  return plan;
}

}  // namespace dcp
