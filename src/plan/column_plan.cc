#include "plan/column_plan.h"

#include <algorithm>
#include <utility>

#include "plan/item_checks.h"
#include "plan/item_pieces.h"

namespace dcp {

StatusOr<ColumnPlan> ColumnPlan::Make(PlanColumns columns,
                                      const GlobalPlanOptions& options) {
  ColumnPlan plan(std::move(columns));
  DCP_RETURN_IF_ERROR(plan.FindReplicas());
  plan.Assign(options);
  DCP_RETURN_IF_ERROR(plan.CheckChunks(options.require_full_coverage
                                           ? CoverageRule::kRequireFull
                                           : CoverageRule::kAllowGaps));
  return plan;
}

ColumnPlan::ColumnPlan(PlanColumns columns)
    : columns_(std::move(columns)),
      fates_(columns_.record_count(), Fate::kWriteWhole),
      pieces_(columns_.rank_count()) {
  replicas_.fixed_loads.resize(columns_.rank_count());
  for (size_t rank = 0; rank < columns_.rank_count(); ++rank) {
    replicas_.fixed_loads[rank] = columns_.HeldNbytesOf(rank);
  }
}

Status ColumnPlan::FindReplicas() {
  ColumnGroups groups(columns_);
  for (const KeyColumn& key : columns_.keys()) {
    groups.Group(key);
    for (size_t group = 0; group < groups.size(); ++group) {
      const std::span<const uint32_t> records = groups.RecordsOf(group);
      if (records.size() == 1) continue;
      DCP_RETURN_IF_ERROR(CheckHolders(key, records));
      AddReplica(key, records);
    }
    if (!key.first->is_object() && !groups.Tile()) doubtful_.push_back(&key);
  }
  return absl::OkStatus();
}

Status ColumnPlan::CheckHolders(const KeyColumn& key,
                                std::span<const uint32_t> records) const {
  for (size_t i = 1; i < records.size(); ++i) {
    const uint32_t rank = columns_.RefOf(key, records[i]).rank;
    const uint32_t before = columns_.RefOf(key, records[i - 1]).rank;
    bool are_equal = rank != before;
    for (int d = 0; d < key.ndim; ++d) {
      are_equal = are_equal && columns_.ExtentOf(key, records[0], d) ==
                                   columns_.ExtentOf(key, records[i], d);
    }
    if (are_equal) continue;
    const WriteItem first = columns_.ItemOf(key, records[0]);
    const WriteItem item = columns_.ItemOf(key, records[i]);
    return CheckHolder(
        {.item = item, .rank = rank}, before,
        {.item = first, .rank = columns_.RefOf(key, records[0]).rank});
  }
  return absl::OkStatus();
}

void ColumnPlan::AddReplica(const KeyColumn& key,
                            std::span<const uint32_t> records) {
  const int64_t nbytes = columns_.NbytesOf(key, records[0]);
  Replica replica{.first = replicas_.holders.size(),
                  .count = static_cast<uint32_t>(records.size()),
                  .nbytes = nbytes,
                  .torch_weight = WeightOf(*key.first)};
  if (key.ndim > 0) {
    replica.rows = columns_.ExtentOf(key, records[0], 0).size;
    replica.row_nbytes =
        RowNbytes(replica.rows, columns_.NumelOf(key, records[0]), nbytes,
                  key.first->itemsize());
  }
  for (const uint32_t record : records) {
    const ItemRef ref = columns_.RefOf(key, record);
    const int64_t held =
        key.odd_nbytes.empty() ? nbytes : columns_.NbytesOf(key, record);
    if (held != nbytes) {
      replicas_.other_nbytes.emplace(replicas_.holders.size(), held);
      replica.row_nbytes = 0;
    }
    replicas_.holders.push_back(ref);
    replicas_.fixed_loads[ref.rank] -= held;
    FateOf(ref) = Fate::kLeave;
  }
  replicas_.replicas.push_back(replica);
}

void ColumnPlan::Assign(const GlobalPlanOptions& options) {
  ItemRef counted;  // up to here `weight` is of the rank's items
  int64_t weight = 0;
  const auto alone_before = [&](ItemRef before) {
    if (counted.rank != before.rank) {
      counted = {.rank = before.rank};
      weight = 0;
    }
    weight = AddWeights(weight, AloneWeight(counted, before.item));
    counted = before;
    return weight;
  };
  Assignment assignment = AssignReplicas(replicas_, options, alone_before);
  for (size_t i = 0; i < replicas_.replicas.size(); ++i) {
    const auto holders = replicas_.Holders(replicas_.replicas[i]);
    const auto split = assignment.pieces.find(i);
    if (split == assignment.pieces.end()) {
      FateOf(holders[assignment.owners[i]]) = Fate::kWriteWhole;
      continue;
    }
    for (const Piece& piece : split->second) {
      const ItemRef ref = holders[piece.holder];
      FateOf(ref) = Fate::kWritePiece;
      pieces_[ref.rank].push_back(
          {.item = ref.item, .row_begin = piece.row_begin, .rows = piece.rows});
    }
  }
  for (std::vector<ItemPiece>& of_rank : pieces_) {
    std::sort(
        of_rank.begin(), of_rank.end(),
        [](const ItemPiece& a, const ItemPiece& b) { return a.item < b.item; });
  }
  loads_ = std::move(assignment.loads);
  replicas_ = {};
}

int64_t ColumnPlan::WeightOf(const KeyEntry& entry) {
  if (entry.is_object()) return 1;
  return TorchWeight(entry.global_size, entry.itemsize());
}

int64_t ColumnPlan::AloneWeight(ItemRef begin, uint32_t end) const {
  int64_t weight = 0;
  for (ItemRef ref = begin; ref.item < end; ++ref.item) {
    if (FateOf(ref) == Fate::kLeave) continue;
    weight = AddWeights(weight, WeightOf(columns_.EntryOf(ref)));
  }
  return weight;
}

Status ColumnPlan::CheckChunks(CoverageRule coverage) {
  std::vector<ChunkFault> faults;
  for (const KeyColumn* key : doubtful_) {
    Metadata metadata;
    metadata.Add(key->first->fqn, TensorOf(*key));
    for (ChunkFault& fault : FindChunkFaults(metadata, coverage)) {
      faults.push_back(std::move(fault));
    }
  }
  doubtful_.clear();
  return faults.empty() ? absl::OkStatus() : InvalidChunks(faults);
}

PlanShare ColumnPlan::ShareOf(size_t rank) const {
  const size_t first = columns_.FirstItemOf(rank);
  const size_t count = columns_.BlockOf(rank).entries.size();
  PlanShare share{.item_count = static_cast<uint32_t>(count),
                  .pieces = pieces_[rank]};
  const auto begin = fates_.begin() + static_cast<std::ptrdiff_t>(first);
  const auto end = begin + static_cast<std::ptrdiff_t>(count);
  const auto is_whole = [](Fate fate) { return fate == Fate::kWriteWhole; };
  for (auto from = begin, to = begin; from != end; from = to) {
    from = std::find_if(from, end, is_whole);
    to = std::find_if_not(from, end, is_whole);
    if (from == to) break;
    share.whole.push_back({.begin = static_cast<uint32_t>(from - begin),
                           .end = static_cast<uint32_t>(to - begin)});
  }
  return share;
}

const ItemPiece& ColumnPlan::PieceOf(ItemRef ref) const {
  const std::vector<ItemPiece>& pieces = pieces_[ref.rank];
  return *std::lower_bound(
      pieces.begin(), pieces.end(), ref.item,
      [](const ItemPiece& piece, uint32_t item) { return piece.item < item; });
}

}  // namespace dcp
