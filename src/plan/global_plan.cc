#include <algorithm>
#include <type_traits>
#include <utility>

#include "base/free_memory.h"
#include "dcp/plan.h"
#include "plan/item_balance.h"
#include "plan/item_groups.h"
#include "plan/item_pieces.h"

namespace dcp {
namespace {

/// What a rank does with an item of its local plan.
enum class Fate : uint8_t { kLeave, kWriteWhole, kWritePiece };

struct Verdict {
  struct RankVerdict {
    std::vector<Fate> fates;                     ///< by item
    std::unordered_map<uint32_t, Piece> pieces;  ///< by item
  };
  std::vector<RankVerdict> ranks;
};

Verdict Decide(const ItemGroups& groups, const Assignment& assignment) {
  Verdict verdict;
  for (const SavePlan& plan : groups.plans()) {
    verdict.ranks.emplace_back().fates.resize(plan.items.size());
  }
  for (size_t i = 0; i < groups.groups().size(); ++i) {
    const std::span<const ItemRef> holders = groups.Holders(groups.groups()[i]);
    const auto split = assignment.pieces.find(i);
    if (split == assignment.pieces.end()) {
      const ItemRef owner = holders[assignment.owners[i]];
      verdict.ranks[owner.rank].fates[owner.item] = Fate::kWriteWhole;
      continue;
    }
    for (const Piece& piece : split->second) {
      const ItemRef owner = holders[piece.holder];
      verdict.ranks[owner.rank].fates[owner.item] = Fate::kWritePiece;
      verdict.ranks[owner.rank].pieces.emplace(owner.item, piece);
    }
  }
  return verdict;
}

/// The chunks of each fqn, plan by plan as torch lists them.
std::vector<std::vector<Box>> CollectChunks(const ItemGroups& groups,
                                            const Verdict& verdict) {
  std::vector<std::vector<Box>> chunks(groups.fqn_count());
  for (size_t fqn = 0; fqn < chunks.size(); ++fqn) {
    chunks[fqn].reserve(groups.GroupCountOf(fqn));
  }
  for (size_t rank = 0; rank < groups.plans().size(); ++rank) {
    const Verdict::RankVerdict& decided = verdict.ranks[rank];
    const std::span<const uint32_t> fqns = groups.FqnsOf(rank);
    for (uint32_t i = 0; i < fqns.size(); ++i) {
      if (decided.fates[i] == Fate::kLeave) continue;
      const Box& chunk = groups.plans()[rank].items[i].chunk;
      if (decided.fates[i] == Fate::kWriteWhole) {
        chunks[fqns[i]].push_back(chunk);
      } else {
        chunks[fqns[i]].push_back(RowsOf(chunk, decided.pieces.at(i).row_begin,
                                         decided.pieces.at(i).rows));
      }
    }
  }
  return chunks;
}

/// Entries in the order in which their keys first appear.
Metadata MakeMetadata(const ItemGroups& groups, const Verdict& verdict) {
  std::vector<std::vector<Box>> chunks = CollectChunks(groups, verdict);
  Metadata metadata;
  metadata.Reserve(groups.fqn_count());
  for (size_t fqn = 0; fqn < groups.fqn_count(); ++fqn) {
    const WriteItem& first = groups.FirstOf(fqn);
    if (first.type == WriteItemType::kByteIo) {
      metadata.Add(first.fqn, BytesStorageMetadata{});
    } else {
      metadata.Add(first.fqn,
                   TensorStorageMetadata{.properties = first.properties,
                                         .size = first.global_size,
                                         .chunks = std::move(chunks[fqn])});
    }
  }
  return metadata;
}

/// The items that each rank writes; moved out of `local` unless it is const.
template <typename Plan>
std::vector<SavePlan> TakeItems(std::span<Plan> local, const Verdict& verdict) {
  constexpr bool kMoves = !std::is_const_v<Plan>;
  std::vector<SavePlan> plans(local.size());
  for (size_t rank = 0; rank < local.size(); ++rank) {
    plans[rank].ties = local[rank].ties;
    const std::vector<Fate>& fates = verdict.ranks[rank].fates;
    auto& from = local[rank].items;
    std::vector<WriteItem>& to = plans[rank].items;
    to.reserve(fates.size() - static_cast<size_t>(std::count(
                                  fates.begin(), fates.end(), Fate::kLeave)));
    for (uint32_t i = 0; i < fates.size(); ++i) {
      if (fates[i] == Fate::kLeave) continue;
      if constexpr (kMoves) {
        to.push_back(std::move(from[i]));
      } else {
        to.push_back(from[i]);
      }
      if (fates[i] == Fate::kWritePiece) {
        const Piece& piece = verdict.ranks[rank].pieces.at(i);
        CutToRows(piece.row_begin, piece.rows, &to.back());
      }
    }
    if constexpr (kMoves) FreeMemory(&from);
  }
  return plans;
}

void MergePlannerData(std::span<const SavePlan> local, Metadata* metadata) {
  auto& merged = metadata->planner_data;
  for (const SavePlan& plan : local) {
    if (!plan.planner_data) continue;
    if (!merged) {
      merged = plan.planner_data;
    } else {
      merged->insert(plan.planner_data->begin(), plan.planner_data->end());
    }
  }
}

template <typename Plan>
StatusOr<GlobalPlan> CreatePlan(std::span<Plan> local,
                                const GlobalPlanOptions& options) {
  GlobalPlan global;
  Verdict verdict;
  {
    // Refers to the items of `local`.
    DCP_ASSIGN_OR_RETURN(const ItemGroups groups, ItemGroups::Make(local));
    verdict = Decide(groups, AssignOwners(groups, options));
    global.metadata = MakeMetadata(groups, verdict);
  }
  MergePlannerData(local, &global.metadata);
  global.plans = TakeItems(local, verdict);
  DCP_RETURN_IF_ERROR(
      ValidateChunks(global.metadata, options.require_full_coverage
                                          ? CoverageRule::kRequireFull
                                          : CoverageRule::kAllowGaps));
  return global;
}

}  // namespace

StatusOr<GlobalPlan> CreateGlobalSavePlan(std::span<const SavePlan> local,
                                          const GlobalPlanOptions& options) {
  return CreatePlan(local, options);
}

StatusOr<GlobalPlan> CreateGlobalSavePlan(std::vector<SavePlan>&& local,
                                          const GlobalPlanOptions& options) {
  return CreatePlan(std::span<SavePlan>(local), options);
}

}  // namespace dcp
