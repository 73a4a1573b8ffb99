#include "plan/closed_form_plan.h"

#include <algorithm>
#include <optional>
#include <string>
#include <utility>

#include "plan/split_units.h"

namespace dcp {
namespace {

/// The part of a chunk that a rank writes.
struct Part {
  bool is_whole = true;
  int64_t row_begin = 0;  ///< of a piece
  int64_t rows = 0;
};

/// What one rank writes.
class RankParts {
 public:
  /// `shares` are by key; nullptr for everything to the lowest holder.
  RankParts(const HolderClasses& holders, const std::vector<KeyShares>* shares,
            uint32_t rank)
      : holders_(holders),
        shares_(shares),
        spec_number_(holders.spec_of_rank()[rank]),
        spec_(holders.specs()[spec_number_]) {
    for (const HolderClass& each : holders.classes()) {
      seats_.push_back(holders.SeatOf(each, rank).value_or(Seat{}));
    }
    laid_out_.resize(spec_.layouts.size());
  }

  const StateSpec& spec() const { return spec_; }
  uint32_t KeyOf(size_t entry) const {
    return holders_.KeysOf(spec_number_)[entry];
  }

  /// What it writes of its chunk of entry `entry`; nullopt if nothing.
  std::optional<Part> PartOf(size_t entry) {
    const uint32_t key = KeyOf(entry);
    const StateEntry& value = spec_.entries[entry];
    const auto* laid_out = std::get_if<LaidOutTensor>(&value.value);
    const bool is_empty =
        laid_out != nullptr && !ChunkOf(laid_out->layout, key).empty.empty();
    if (shares_ == nullptr || is_empty) {
      return IsLowest(laid_out, key) ? std::optional<Part>(Part{})
                                     : std::nullopt;
    }
    const KeyShares& shares = (*shares_)[key];
    const int64_t holder = SeatFor(key).holder;
    if (shares.units == 1) {
      return shares.owner == holder ? std::optional<Part>(Part{})
                                    : std::nullopt;
    }
    const Dims& sizes = laid_out != nullptr
                            ? laid_out_[laid_out->layout].chunk.sizes
                            : std::get<WholeTensor>(value.value).size;
    return PieceOf(shares, holder, sizes[0]);
  }

  /// The chunk of an entry that is a tensor.
  Box BoxOf(size_t entry) {
    const StateEntry& value = spec_.entries[entry];
    if (const auto* whole = std::get_if<WholeTensor>(&value.value)) {
      return WholeBox(whole->size);
    }
    const auto& laid_out = std::get<LaidOutTensor>(value.value);
    return ChunkOf(laid_out.layout, KeyOf(entry)).chunk;
  }

 private:
  struct LaidOut {
    bool is_known = false;
    Box chunk;
    std::vector<int> empty;  ///< the sharded dimensions without a row
    /// The class for which is_lowest is known; -1 for none.
    int64_t lowest_in = -1;
    bool is_lowest = false;
  };

  const Seat& SeatFor(uint32_t key) const {
    return seats_[holders_.keys()[key].holder_class];
  }

  LaidOut& ChunkOf(uint32_t number, uint32_t key) {
    LaidOut& found = laid_out_[number];
    if (found.is_known) return found;
    found.is_known = true;
    const TensorLayout& layout = spec_.layouts[number];
    found.chunk = KnownChunkAt(layout, spec_.meshes[layout.mesh].sizes,
                               SeatFor(key).coordinate);
    for (const Placement& placement : layout.placements) {
      if (placement.kind == Placement::Kind::kReplicate) continue;
      if (found.chunk.sizes[placement.dim] > 0) continue;
      found.empty.push_back(placement.dim);
    }
    return found;
  }

  /// Whether this is the lowest of the ranks that hold its chunk of a key.
  bool IsLowest(const LaidOutTensor* laid_out, uint32_t key) {
    const uint32_t number = holders_.keys()[key].holder_class;
    const HolderClass& in = holders_.classes()[number];
    const Seat& seat = seats_[number];
    if (laid_out == nullptr) {
      return IsLowestAt(in, seat, Dims::Filled(1, 0));
    }
    LaidOut& known = ChunkOf(laid_out->layout, key);
    if (known.lowest_in == number) return known.is_lowest;
    const TensorLayout& layout = spec_.layouts[laid_out->layout];
    const Dims& sizes = spec_.meshes[layout.mesh].sizes;
    Dims lowest = seat.coordinate;
    for (int d = 0; d < lowest.size(); ++d) {
      if (in.replicated[static_cast<size_t>(d)]) lowest[d] = 0;
    }
    // Empty shards begin at the same place: they are one chunk.
    for (const int dim : known.empty) {
      const Dims first = FirstEmptyShard(layout, sizes, dim);
      for (int d = 0; d < lowest.size(); ++d) {
        if (layout.placements[static_cast<size_t>(d)].shards(dim)) {
          lowest[d] = first[d];
        }
      }
    }
    known.lowest_in = number;
    known.is_lowest = IsLowestAt(in, seat, lowest);
    return known.is_lowest;
  }

  /// Whether `seat` is the lowest of the ranks at `lowest` in the grids.
  bool IsLowestAt(const HolderClass& in, const Seat& seat,
                  const Dims& lowest) const {
    if (seat.coordinate != lowest) return false;
    const auto rank_in = [&](size_t slot) {
      const HolderGrid& grid = holders_.GridOf(in, slot);
      return grid.RankAt(IndexOf(lowest, grid.sizes));
    };
    for (size_t slot = 0; slot < in.grids.size(); ++slot) {
      if (rank_in(slot) < rank_in(seat.grid)) return false;
    }
    return true;
  }

  static std::optional<Part> PieceOf(const KeyShares& shares, int64_t holder,
                                     int64_t rows) {
    const auto run = std::lower_bound(
        shares.runs.begin(), shares.runs.end(), holder,
        [](const UnitRun& a, int64_t b) { return a.holder < b; });
    if (run == shares.runs.end() || run->holder != holder) return std::nullopt;
    const int64_t begin = FirstRowOfUnit(rows, shares.units, run->begin);
    const int64_t end = FirstRowOfUnit(rows, shares.units, run->end);
    if (begin == end) return std::nullopt;
    return Part{.is_whole = end - begin == rows,
                .row_begin = begin,
                .rows = end - begin};
  }

  const HolderClasses& holders_;
  const std::vector<KeyShares>* shares_;
  uint32_t spec_number_;
  const StateSpec& spec_;
  std::vector<Seat> seats_;  // by class; of those in which it has none, empty
  std::vector<LaidOut> laid_out_;  // by layout
};

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
  std::vector<std::vector<Box>> chunks(holders_.keys().size());
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
