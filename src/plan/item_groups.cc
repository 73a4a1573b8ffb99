#include "plan/item_groups.h"

#include <algorithm>
#include <numeric>
#include <unordered_map>

#include "plan/item_checks.h"

namespace dcp {
namespace {

/// Numbers fqns in the order in which they first appear.
///
/// Ranks mostly list the same keys in the same order, so the number of an
/// item's fqn is first guessed to follow that of the item before.
class FqnNumbers {
 public:
  uint32_t NumberOf(std::string_view fqn) {
    const size_t guess = last_ + 1;
    if (guess < names_.size() && names_[guess] == fqn) {
      last_ = guess;
    } else {
      const auto [found, is_new] =
          numbers_.try_emplace(fqn, static_cast<uint32_t>(names_.size()));
      if (is_new) names_.push_back(fqn);
      last_ = found->second;
    }
    return static_cast<uint32_t>(last_);
  }
  void StartRank() { last_ = static_cast<size_t>(-1); }

 private:
  std::vector<std::string_view> names_;
  std::unordered_map<std::string_view, uint32_t> numbers_;
  size_t last_ = static_cast<size_t>(-1);
};

}  // namespace

StatusOr<ItemGroups> ItemGroups::Make(std::span<const SavePlan> plans) {
  ItemGroups groups(plans);
  DCP_RETURN_IF_ERROR(groups.NumberFqns());
  groups.SortByFqn();
  for (size_t fqn = 0; fqn < groups.fqn_count(); ++fqn) {
    DCP_RETURN_IF_ERROR(groups.GroupFqn(fqn));
    groups.group_begins_.push_back(groups.groups_.size());
  }
  return groups;
}

Status ItemGroups::NumberFqns() {
  FqnNumbers numbers;
  int64_t total = 0;
  for (uint32_t rank = 0; rank < plans_.size(); ++rank) {
    numbers.StartRank();
    rank_begins_.push_back(fqns_.size());
    const std::vector<WriteItem>& items = plans_[rank].items;
    for (uint32_t item = 0; item < items.size(); ++item) {
      const uint32_t fqn = numbers.NumberOf(items[item].fqn);
      const ItemRef ref{.rank = rank, .item = item};
      if (fqn == firsts_.size()) firsts_.push_back(ref);
      fqns_.push_back(fqn);
      const ListedItem listed{.item = items[item], .rank = rank};
      DCP_RETURN_IF_ERROR(CheckListed(
          listed, {.item = At(firsts_[fqn]), .rank = firsts_[fqn].rank}));
      // So that no rank's load needs a check later on.
      if (__builtin_add_overflow(total, items[item].nbytes, &total)) {
        return TooManyBytes(listed);
      }
    }
  }
  return absl::OkStatus();
}

void ItemGroups::SortByFqn() {
  fqn_begins_.assign(fqn_count() + 1, 0);
  for (uint32_t fqn : fqns_) ++fqn_begins_[fqn + 1];
  std::partial_sum(fqn_begins_.begin(), fqn_begins_.end(), fqn_begins_.begin());
  refs_.resize(fqns_.size());
  std::vector<size_t> next(fqn_begins_.begin(), fqn_begins_.end() - 1);
  for (uint32_t rank = 0; rank < plans_.size(); ++rank) {
    uint32_t item = 0;
    for (uint32_t fqn : FqnsOf(rank)) {
      refs_[next[fqn]++] = {.rank = rank, .item = item++};
    }
  }
}

Status ItemGroups::GroupFqn(size_t fqn) {
  const std::span<ItemRef> refs = std::span(refs_).subspan(
      fqn_begins_[fqn], fqn_begins_[fqn + 1] - fqn_begins_[fqn]);
  const auto comes_before = [&](ItemRef a, ItemRef b) {
    const Dims& a_offsets = At(a).chunk.offsets;
    const Dims& b_offsets = At(b).chunk.offsets;
    if (a_offsets != b_offsets) return a_offsets < b_offsets;
    return a.rank != b.rank ? a.rank < b.rank : a.item < b.item;
  };
  if (!std::is_sorted(refs.begin(), refs.end(), comes_before)) {
    std::sort(refs.begin(), refs.end(), comes_before);
  }
  for (size_t begin = 0, end = 0; begin < refs.size(); begin = end) {
    const Dims& offsets = At(refs[begin]).chunk.offsets;
    end = begin + 1;
    while (end < refs.size() && At(refs[end]).chunk.offsets == offsets) ++end;
    groups_.push_back({.first = fqn_begins_[fqn] + begin,
                       .count = static_cast<uint32_t>(end - begin)});
    DCP_RETURN_IF_ERROR(CheckHolders(groups_.back()));
  }
  return absl::OkStatus();
}

Status ItemGroups::CheckHolders(const ItemGroup& group) const {
  const std::span<const ItemRef> holders = Holders(group);
  const ListedItem first{.item = At(holders[0]), .rank = holders[0].rank};
  for (size_t i = 1; i < holders.size(); ++i) {
    DCP_RETURN_IF_ERROR(
        CheckHolder({.item = At(holders[i]), .rank = holders[i].rank},
                    holders[i - 1].rank, first));
  }
  return absl::OkStatus();
}

}  // namespace dcp
