// ItemGroups: the items of all ranks by what they are.

#ifndef DCP_PLAN_ITEM_GROUPS_H_
#define DCP_PLAN_ITEM_GROUPS_H_

#include <cstddef>
#include <cstdint>
#include <span>
#include <string_view>
#include <vector>

#include "dcp/plan.h"
#include "dcp/status.h"
#include "plan/item_ref.h"

namespace dcp {

/// One distinct (fqn, chunk): the ranks that hold it are those of
/// ItemGroups::refs [first, first + count), ascending.
struct ItemGroup {
  size_t first = 0;
  uint32_t count = 0;
};

/// Items are referred to, not copied: a plan of thousands of ranks has tens of
/// millions. Some 20 bytes an item.
class ItemGroups {
 public:
  /// Groups the items of `plans`, which must outlive the result.
  /// \error kInvalidArgument  as CreateGlobalSavePlan, but for overlaps and
  ///     gaps
  static StatusOr<ItemGroups> Make(std::span<const SavePlan> plans);

  std::span<const SavePlan> plans() const { return plans_; }
  size_t fqn_count() const { return firsts_.size(); }
  /// All groups, by first appearance of their fqn, then by offsets.
  std::span<const ItemGroup> groups() const { return groups_; }

  std::span<const ItemRef> Holders(const ItemGroup& group) const {
    return std::span(refs_).subspan(group.first, group.count);
  }
  const WriteItem& At(ItemRef ref) const {
    return plans_[ref.rank].items[ref.item];
  }
  const WriteItem& Example(const ItemGroup& group) const {
    return At(refs_[group.first]);
  }
  /// The lowest rank's first item of each fqn, by first appearance.
  const WriteItem& FirstOf(size_t fqn) const { return At(firsts_[fqn]); }
  /// The numbers of the fqns of a rank's items.
  std::span<const uint32_t> FqnsOf(size_t rank) const {
    return std::span(fqns_).subspan(rank_begins_[rank],
                                    plans_[rank].items.size());
  }
  /// The distinct chunks of each fqn.
  size_t GroupCountOf(size_t fqn) const {
    return group_begins_[fqn + 1] - group_begins_[fqn];
  }

 private:
  explicit ItemGroups(std::span<const SavePlan> plans) : plans_(plans) {}

  /// Fills fqns_, rank_begins_ and firsts_, and checks every item against the
  /// first of its fqn.
  Status NumberFqns();
  /// Fills refs_, by fqn and within it by rank, and fqn_begins_.
  void SortByFqn();
  /// Sorts the items of one fqn by offsets and makes their groups.
  Status GroupFqn(size_t fqn);
  Status CheckHolders(const ItemGroup& group) const;

  std::span<const SavePlan> plans_;
  std::vector<uint32_t> fqns_;       // by rank, then item
  std::vector<size_t> rank_begins_;  // into fqns_
  std::vector<ItemRef> firsts_;      // by fqn
  std::vector<ItemRef> refs_;
  std::vector<size_t> fqn_begins_;  // into refs_, and the end
  std::vector<ItemGroup> groups_;
  std::vector<size_t> group_begins_ = {0};  // by fqn, and the end
};

}  // namespace dcp

#endif  // DCP_PLAN_ITEM_GROUPS_H_
