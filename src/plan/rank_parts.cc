#include "plan/rank_parts.h"

#include <algorithm>

#include "plan/split_units.h"

namespace dcp {
namespace {

std::optional<Part> WholeIf(bool writes) {
  return writes ? std::optional<Part>(Part{}) : std::nullopt;
}

/// What `holder` writes of a chunk of `rows` rows that is split.
std::optional<Part> PieceOf(const KeyShares& shares, int64_t holder,
                            int64_t rows) {
  const auto run = std::lower_bound(
      shares.runs.begin(), shares.runs.end(), holder,
      [](const UnitRun& a, int64_t b) { return a.holder < b; });
  if (run == shares.runs.end() || run->holder != holder) return std::nullopt;
  const int64_t begin = FirstRowOfUnit(rows, shares.units, run->begin);
  const int64_t end = FirstRowOfUnit(rows, shares.units, run->end);
  if (begin == end) return std::nullopt;
  return Part{
      .is_whole = end - begin == rows, .row_begin = begin, .rows = end - begin};
}

}  // namespace

RankParts::RankParts(const HolderClasses& holders,
                     const std::vector<KeyShares>* shares, uint32_t rank)
    : holders_(holders),
      shares_(shares),
      spec_number_(holders.spec_of_rank()[rank]),
      spec_(holders.specs()[spec_number_]) {
  for (const HolderClass& each : holders.classes()) {
    seats_.push_back(holders.SeatOf(each, rank).value_or(Seat{}));
  }
  laid_out_.resize(spec_.layouts.size());
}

std::optional<Part> RankParts::PartOf(size_t entry) {
  const uint32_t key = KeyOf(entry);
  const StateEntry& of = spec_.entries[entry];
  const auto* laid_out = std::get_if<LaidOutTensor>(&of.value);
  const bool is_empty =
      laid_out != nullptr && !ChunkOf(laid_out->layout, key).empty.empty();
  if (shares_ == nullptr || is_empty) return WholeIf(IsLowest(laid_out, key));
  const KeyShares& shares = (*shares_)[key];
  const int64_t holder = SeatFor(key).holder;
  if (shares.units == 1) return WholeIf(shares.owner == holder);
  const Dims& sizes = laid_out != nullptr
                          ? ChunkOf(laid_out->layout, key).chunk.sizes
                          : std::get<WholeTensor>(of.value).size;
  return PieceOf(shares, holder, sizes[0]);
}

Box RankParts::BoxOf(size_t entry) {
  const StateEntry& of = spec_.entries[entry];
  if (const auto* whole = std::get_if<WholeTensor>(&of.value)) {
    return WholeBox(whole->size);
  }
  const auto& laid_out = std::get<LaidOutTensor>(of.value);
  return ChunkOf(laid_out.layout, KeyOf(entry)).chunk;
}

RankParts::LaidOut& RankParts::ChunkOf(uint32_t number, uint32_t key) {
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

bool RankParts::IsLowest(const LaidOutTensor* laid_out, uint32_t key) {
  const uint32_t number = holders_.keys()[key].holder_class;
  const HolderClass& in = holders_.classes()[number];
  const Seat& seat = seats_[number];
  if (laid_out == nullptr) return IsLowestAt(in, seat, Dims::Filled(1, 0));
  LaidOut& known = ChunkOf(laid_out->layout, key);
  if (known.lowest_in != number) {
    const TensorLayout& layout = spec_.layouts[laid_out->layout];
    known.lowest_in = number;
    known.is_lowest = IsLowestAt(in, seat, LowestOf(known, layout, in, seat));
  }
  return known.is_lowest;
}

Dims RankParts::LowestOf(const LaidOut& chunk, const TensorLayout& layout,
                         const HolderClass& in, const Seat& seat) const {
  Dims lowest = seat.coordinate;
  for (int d = 0; d < lowest.size(); ++d) {
    if (in.replicated[static_cast<size_t>(d)]) lowest[d] = 0;
  }
  // Empty shards begin at the same place: they are one chunk.
  for (const int dim : chunk.empty) {
    const Dims first =
        FirstEmptyShard(layout, spec_.meshes[layout.mesh].sizes, dim);
    for (int d = 0; d < lowest.size(); ++d) {
      if (layout.placements[static_cast<size_t>(d)].shards(dim)) {
        lowest[d] = first[d];
      }
    }
  }
  return lowest;
}

bool RankParts::IsLowestAt(const HolderClass& in, const Seat& seat,
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

}  // namespace dcp
