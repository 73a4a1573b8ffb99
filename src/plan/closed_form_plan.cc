#include "plan/closed_form_plan.h"

#include <algorithm>
#include <optional>
#include <string>
#include <utility>

#include "plan/rank_parts.h"

namespace dcp {
namespace {

Box Cut(Box chunk, const Part& part) {
  if (part.is_whole) return chunk;
  chunk.offsets[0] += part.row_begin;
  chunk.sizes[0] = part.rows;
  return chunk;
}

WriteItem MakeItem(size_t entry, const Part& part, RankParts* parts) {
  const StateSpec& spec = parts->spec();
  const StateEntry& from = spec.entries[entry];
  WriteItem item{.fqn = from.fqn, .source = static_cast<int64_t>(entry)};
  if (const auto* object = std::get_if<StateObject>(&from.value)) {
    item.type = WriteItemType::kByteIo;
    item.nbytes = object->nbytes;
    return item;
  }
  item.chunk = Cut(parts->BoxOf(entry), part);
  if (const auto* whole = std::get_if<WholeTensor>(&from.value)) {
    item.type = part.is_whole ? WriteItemType::kTensor : WriteItemType::kShard;
    item.global_size = whole->size;
    item.properties = whole->properties;
    item.nbytes = part.is_whole ? whole->nbytes
                                : whole->nbytes / whole->size[0] * part.rows;
    return item;
  }
  const auto& laid_out = std::get<LaidOutTensor>(from.value);
  item.type = WriteItemType::kShard;
  item.global_size = spec.layouts[laid_out.layout].global_size;
  item.properties = laid_out.properties;
  item.nbytes = item.chunk.numel() * ItemSize(item.properties.dtype);
  return item;
}

/// Lists for the chunks of each key, with room for all of them.
std::vector<std::vector<Box>> ChunkLists(const HolderClasses& holders,
                                         const std::vector<KeyShares>& shares) {
  std::vector<std::vector<Box>> lists(holders.keys().size());
  for (size_t i = 0; i < lists.size(); ++i) {
    const uint32_t number = holders.keys()[i].holder_class;
    const HolderClass& of = holders.classes()[number];
    int64_t chunks = 1;
    for (int d = 0; d < holders.GridOf(of, 0).sizes.size(); ++d) {
      if (of.replicated[static_cast<size_t>(d)]) continue;
      chunks *= holders.GridOf(of, 0).sizes[d];
    }
    const size_t pieces = shares.empty() ? 1 : shares[i].runs.size();
    lists[i].reserve(static_cast<size_t>(chunks) * std::max<size_t>(pieces, 1));
  }
  return lists;
}

/// Entries in the order in which their keys first appear.
Metadata MetadataOf(const HolderClasses& holders,
                    std::vector<std::vector<Box>> chunks) {
  Metadata metadata;
  metadata.Reserve(chunks.size());
  for (size_t i = 0; i < chunks.size(); ++i) {
    const StateKey& key = holders.keys()[i];
    const StateEntry& entry = holders.EntryOf(key);
    if (std::holds_alternative<StateObject>(entry.value)) {
      metadata.Add(entry.fqn, BytesStorageMetadata{});
      continue;
    }
    TensorStorageMetadata tensor{.chunks = std::move(chunks[i])};
    if (const auto* whole = std::get_if<WholeTensor>(&entry.value)) {
      tensor.properties = whole->properties;
      tensor.size = whole->size;
    } else {
      const auto& laid_out = std::get<LaidOutTensor>(entry.value);
      tensor.properties = laid_out.properties;
      tensor.size =
          holders.specs()[key.spec].layouts[laid_out.layout].global_size;
    }
    metadata.Add(entry.fqn, std::move(tensor));
  }
  for (const uint32_t spec : holders.SpecOrder()) {
    const auto& paths = holders.specs()[spec].planner_data;
    if (!paths) continue;
    if (!metadata.planner_data) metadata.planner_data.emplace();
    metadata.planner_data->insert(paths->begin(), paths->end());
  }
  return metadata;
}

Status CheckLayouts(const HolderClasses& holders,
                    const GlobalPlanOptions& options) {
  for (const uint32_t number : holders.SpecOrder()) {
    const StateSpec& spec = holders.specs()[number];
    for (const TensorLayout& layout : spec.layouts) {
      const Dims& sizes = spec.meshes[layout.mesh].sizes;
      if (HasWholeRuns(layout, sizes)) continue;
      return NotClosedForm("shards of " + ToString(layout, sizes) +
                           " are no whole runs of rows");
    }
    if (!options.dedup_to_lowest_rank) continue;
    for (const DeviceMesh& mesh : spec.meshes) {
      if (HolderGrid::Of(mesh).is_ascending) continue;
      return NotClosedForm("the ranks of a device mesh of the sizes " +
                           ToString(mesh.sizes) +
                           " do not ascend, so that its lowest rank does not "
                           "follow from coordinates");
    }
  }
  return absl::OkStatus();
}

}  // namespace

StatusOr<ClosedFormPlan> ClosedFormPlan::Make(
    std::span<const StateSpec> specs, std::span<const uint32_t> spec_of_rank,
    const GlobalPlanOptions& options) {
  DCP_ASSIGN_OR_RETURN(HolderClasses holders,
                       HolderClasses::Make(specs, spec_of_rank));
  DCP_RETURN_IF_ERROR(CheckLayouts(holders, options));
  std::vector<KeyShares> shares;
  if (!options.dedup_to_lowest_rank) {
    shares = DealShares(holders, options.split_nbytes);
  }
  return ClosedFormPlan(std::move(holders), std::move(shares),
                        options.dedup_to_lowest_rank);
}

SavePlan ClosedFormPlan::ShareOf(uint32_t rank) const {
  RankParts parts(holders_, takes_lowest_ ? nullptr : &shares_, rank);
  SavePlan share{.ties = parts.spec().ties};
  for (size_t i = 0; i < parts.spec().entries.size(); ++i) {
    const std::optional<Part> part = parts.PartOf(i);
    if (part) share.items.push_back(MakeItem(i, *part, &parts));
  }
  return share;
}

Metadata ClosedFormPlan::MakeMetadata() const {
  std::vector<std::vector<Box>> chunks = ChunkLists(holders_, shares_);
  for (uint32_t rank = 0; rank < holders_.spec_of_rank().size(); ++rank) {
    RankParts parts(holders_, takes_lowest_ ? nullptr : &shares_, rank);
    for (size_t i = 0; i < parts.spec().entries.size(); ++i) {
      const std::optional<Part> part = parts.PartOf(i);
      const bool is_object =
          std::holds_alternative<StateObject>(parts.spec().entries[i].value);
      if (!part || is_object) continue;
      chunks[parts.KeyOf(i)].push_back(Cut(parts.BoxOf(i), *part));
    }
  }
  return MetadataOf(holders_, std::move(chunks));
}

}  // namespace dcp
