// What a ColumnPlan is worth to those who want it in full.

#include <utility>

#include "plan/column_plan.h"
#include "plan/item_pieces.h"

namespace dcp {

TensorStorageMetadata ColumnPlan::TensorOf(const KeyColumn& key) const {
  TensorStorageMetadata tensor{.properties = key.first->properties,
                               .size = key.first->global_size};
  for (size_t i = 0; i < key.count; ++i) {
    const ItemRef ref = columns_.RefOf(key, i);
    const Fate fate = FateOf(ref);
    if (fate == Fate::kLeave) continue;
    tensor.chunks.push_back(columns_.ChunkOf(key, i));
    if (fate == Fate::kWritePiece) {
      const ItemPiece& piece = PieceOf(ref);
      Box& chunk = tensor.chunks.back();
      chunk = RowsOf(chunk, piece.row_begin, piece.rows);
    }
  }
  return tensor;
}

Metadata ColumnPlan::MakeMetadata() && {
  Metadata metadata;
  metadata.Reserve(columns_.keys().size());
  for (const KeyColumn& key : columns_.keys()) {
    if (key.first->is_object()) {
      metadata.Add(key.first->fqn, BytesStorageMetadata{});
    } else {
      metadata.Add(key.first->fqn, TensorOf(key));
    }
  }
  metadata.planner_data = columns_.TakePaths();
  return metadata;
}

std::vector<SavePlan> ColumnPlan::MakePlans() const {
  std::vector<SavePlan> plans(rank_count());
  // Where in its rank's plan each item goes, by rank, then item.
  std::vector<uint32_t> places(fates_.size());
  for (size_t rank = 0; rank < rank_count(); ++rank) {
    plans[rank].ties = columns_.BlockOf(rank).ties;
    const size_t first = columns_.FirstItemOf(rank);
    uint32_t place = 0;
    for (size_t i = 0; i < columns_.BlockOf(rank).entries.size(); ++i) {
      places[first + i] = place;
      if (fates_[first + i] != Fate::kLeave) ++place;
    }
    plans[rank].items.resize(place);
  }
  for (const KeyColumn& key : columns_.keys()) {
    for (size_t i = 0; i < key.count; ++i) {
      const ItemRef ref = columns_.RefOf(key, i);
      const Fate fate = FateOf(ref);
      if (fate == Fate::kLeave) continue;
      WriteItem& item =
          plans[ref.rank]
              .items[places[columns_.FirstItemOf(ref.rank) + ref.item]];
      item = columns_.ItemOf(key, i);
      if (fate != Fate::kWritePiece) continue;
      const ItemPiece& piece = PieceOf(ref);
      CutToRows(piece.row_begin, piece.rows, &item);
    }
  }
  return plans;
}

}  // namespace dcp
