#include "checkpoint/spec_of_entries.h"

#include <algorithm>
#include <unordered_map>
#include <utility>

#include "base/wire.h"
#include "plan/mesh_layout.h"

namespace dcp {
namespace {

/// The rank at the coordinate of `layout`, of which ChunkOf has made a chunk.
uint32_t RankOf(const MeshLayout& layout) {
  const int64_t index = IndexOf(layout.coordinate, layout.mesh->sizes);
  return layout.mesh->ranks[static_cast<size_t>(index)];
}

class SpecMaker {
 public:
  explicit SpecMaker(uint32_t rank) : rank_(rank) {}

  /// Adds what `entry` is, of which the plan has `item`; false if a spec cannot
  /// say it.
  StatusOr<bool> Add(const SaveEntry& entry, const WriteItem& item) {
    StateEntry made{.fqn = entry.fqn};
    const auto* shard = std::get_if<TensorShard>(&entry.value);
    if (shard == nullptr) {
      made.value = StateObject{.nbytes = item.nbytes};
    } else if (item.type == WriteItemType::kShard && shard->layout != nullptr &&
               !shard->encoded) {
      DCP_ASSIGN_OR_RETURN(const uint32_t layout, LayoutOf(entry.fqn, *shard));
      made.value =
          LaidOutTensor{.properties = item.properties, .layout = layout};
    } else if (item.type == WriteItemType::kTensor &&
               item.chunk == WholeBox(item.global_size)) {
      made.value = WholeTensor{.properties = item.properties,
                               .size = item.global_size,
                               .nbytes = item.nbytes};
    } else {
      return false;
    }
    spec_.entries.push_back(std::move(made));
    return true;
  }

  StateSpec Take(const SavePlan& plan) && {
    spec_.planner_data = plan.planner_data;
    spec_.ties = plan.ties;
    return std::move(spec_);
  }

 private:
  struct KnownLayout {
    uint32_t number = 0;
    Box chunk;
  };

  /// The number of the layout of `shard`, which must be what it says.
  StatusOr<uint32_t> LayoutOf(const std::string& fqn,
                              const TensorShard& shard) {
    DCP_ASSIGN_OR_RETURN(const uint32_t mesh, MeshOf(fqn, shard));
    const auto [place, is_new] = layouts_.try_emplace(KeyOf(mesh, shard));
    KnownLayout& known = place->second;
    if (is_new) {
      StatusOr<Box> chunk = ChunkOf(*shard.layout, shard.global_size);
      if (!chunk.ok()) return Annotate(chunk.status(), "the tensor " + fqn);
      known.number = static_cast<uint32_t>(spec_.layouts.size());
      known.chunk = *std::move(chunk);
      spec_.layouts.push_back({.global_size = shard.global_size,
                               .mesh = mesh,
                               .placements = shard.layout->placements});
    }
    DCP_RETURN_IF_ERROR(CheckIsChunk(fqn, shard, known.chunk));
    return known.number;
  }

  StatusOr<uint32_t> MeshOf(const std::string& fqn, const TensorShard& shard) {
    const MeshLayout& layout = *shard.layout;
    const auto known = meshes_.find(&layout);
    if (known != meshes_.end()) return known->second;
    const StatusOr<Box> chunk = ChunkOf(layout, shard.global_size);
    if (!chunk.ok()) return Annotate(chunk.status(), "the tensor " + fqn);
    if (RankOf(layout) != rank_) {
      return InvalidArgument("the layout of " + fqn + " is that of rank " +
                             std::to_string(RankOf(layout)) +
                             ", and this is rank " + std::to_string(rank_));
    }
    auto& meshes = spec_.meshes;
    const auto same = std::find(meshes.begin(), meshes.end(), *layout.mesh);
    const auto number = static_cast<uint32_t>(same - meshes.begin());
    if (same == meshes.end()) meshes.push_back(*layout.mesh);
    meshes_.emplace(&layout, number);
    return number;
  }

  /// What makes two layouts the same, as text.
  static std::string KeyOf(uint32_t mesh, const TensorShard& shard) {
    WireWriter key;
    key.PutVarint(mesh);
    key.PutDims(shard.global_size);
    for (const Placement& placement : shard.layout->placements) {
      key.PutU8(static_cast<uint8_t>(placement.kind));
      key.PutSigned(placement.dim);
      key.PutSigned(placement.split_factor);
    }
    return std::move(key).Take();
  }

  const uint32_t rank_;
  StateSpec spec_;
  std::unordered_map<const MeshLayout*, uint32_t> meshes_;
  std::unordered_map<std::string, KnownLayout> layouts_;
};

}  // namespace

StatusOr<std::optional<StateSpec>> SpecOfEntries(
    std::span<const SaveEntry> entries, const SavePlan& plan, uint32_t rank) {
  SpecMaker maker(rank);
  for (const WriteItem& item : plan.items) {
    const SaveEntry& entry = entries[static_cast<size_t>(item.source)];
    DCP_ASSIGN_OR_RETURN(const bool is_added, maker.Add(entry, item));
    if (!is_added) return std::optional<StateSpec>();
  }
  std::optional<StateSpec> spec(std::move(maker).Take(plan));
  if (!CheckStateSpec(*spec).ok()) spec.reset();
  return spec;
}

Status CheckIsChunk(const std::string& fqn, const TensorShard& shard,
                    const Box& chunk) {
  if (shard.view.sizes == chunk.sizes && shard.offsets == chunk.offsets) {
    return absl::OkStatus();
  }
  const MeshLayout& layout = *shard.layout;
  return InvalidArgument(
      "the tensor " + fqn + " of rank " + std::to_string(RankOf(layout)) +
      " has the shape " + ToString(shard.view.sizes) + " at " +
      ToString(shard.offsets) + ", but its layout makes it " +
      ToString(chunk.sizes) + " at " + ToString(chunk.offsets) + ": " +
      ToString(
          {.global_size = shard.global_size, .placements = layout.placements},
          layout.mesh->sizes));
}

}  // namespace dcp
