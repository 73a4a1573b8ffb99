// ColumnPlan: the global plan of plans that are kept as columns.
//
// The decisions and the errors are CreateGlobalSavePlan's, for a fraction of
// the time and memory, since no item of any rank becomes a WriteItem.

#ifndef DCP_PLAN_COLUMN_PLAN_H_
#define DCP_PLAN_COLUMN_PLAN_H_

#include <cstdint>
#include <span>
#include <vector>

#include "dcp/plan.h"
#include "plan/balance.h"
#include "plan/chunk_faults.h"
#include "plan/column_groups.h"
#include "plan/plan_columns.h"
#include "plan/plan_share.h"

namespace dcp {

/// Immutable, but for what MakeMetadata takes along.
class ColumnPlan {
 public:
  /// \error kInvalidArgument  as CreateGlobalSavePlan
  static StatusOr<ColumnPlan> Make(PlanColumns columns,
                                   const GlobalPlanOptions& options);

  size_t rank_count() const { return columns_.rank_count(); }
  /// What `rank` writes.
  PlanShare ShareOf(size_t rank) const;
  /// Bytes that each rank writes.
  const std::vector<int64_t>& loads() const { return loads_; }

  /// GlobalPlan::plans: some 200 bytes an item.
  std::vector<SavePlan> MakePlans() const;
  /// GlobalPlan::metadata: some 64 bytes a chunk, and the planners' paths,
  /// which are moved. Once.
  Metadata MakeMetadata() &&;

 private:
  /// What a rank does with an item of its local plan.
  enum class Fate : uint8_t { kWriteWhole, kWritePiece, kLeave };

  explicit ColumnPlan(PlanColumns columns);

  Status FindReplicas();
  void AddReplica(const KeyColumn& key, std::span<const uint32_t> records);
  Status CheckHolders(const KeyColumn& key,
                      std::span<const uint32_t> records) const;
  void Assign(const GlobalPlanOptions& options);
  static int64_t WeightOf(const KeyEntry& entry);
  /// The weights of what the rank of `begin` alone holds, up to item `end`.
  int64_t AloneWeight(ItemRef begin, uint32_t end) const;
  Status CheckChunks(CoverageRule coverage);
  TensorStorageMetadata TensorOf(const KeyColumn& key) const;

  Fate& FateOf(ItemRef ref) {
    return fates_[columns_.FirstItemOf(ref.rank) + ref.item];
  }
  Fate FateOf(ItemRef ref) const {
    return fates_[columns_.FirstItemOf(ref.rank) + ref.item];
  }
  const ItemPiece& PieceOf(ItemRef ref) const;

  PlanColumns columns_;
  std::vector<Fate> fates_;                     // by rank, then item
  std::vector<std::vector<ItemPiece>> pieces_;  // by rank
  std::vector<int64_t> loads_;
  ReplicaTable replicas_;  // gone when they are assigned
  // Those whose chunks were not seen to cover their tensors.
  std::vector<const KeyColumn*> doubtful_;
};

}  // namespace dcp

#endif  // DCP_PLAN_COLUMN_PLAN_H_
