// How writers are chosen:
//
// 1. What only one rank holds is that rank's: a load that is given.
// 2. The rest is dealt out, largest first, each to the holder with the least
//    load so far (longest processing time first).
// 3. A large chunk is dealt out in quanta, runs of rows of about half of
//    split_nbytes each, as many for each holder where there are enough. The
//    quanta that one rank got are then made neighbours: it writes one piece, as
//    large as its share. So there is never more than one piece a rank, and
//    still ranks with other loads take less of it.
// 4. Step 2 is a heuristic where items have different holders, and may lose to
//    another. torch's is the one users compare with: it is tried as well, and
//    its result taken if its largest load is smaller.

#include "plan/balance.h"

#include <algorithm>
#include <functional>
#include <queue>
#include <span>
#include <utility>

#include "plan/split_units.h"

namespace dcp {
namespace {

/// Finds the least loaded holder of a group.
///
/// Groups with the same holders share a heap. Loads only grow, so the key of an
/// entry is a lower bound of its load, brought up to date when it comes first.
class HolderHeaps {
 public:
  HolderHeaps(const ItemGroups& groups, const std::vector<int64_t>& loads)
      : groups_(groups), loads_(loads) {}

  /// The number among its holders; of several, the lowest.
  uint32_t LeastLoaded(const ItemGroup& group) {
    Heap& heap = HeapOf(group);
    const std::span<const ItemRef> holders = groups_.Holders(group);
    for (;;) {
      const auto [key, holder] = heap.entries.top();
      const int64_t load = loads_[holders[holder].rank];
      if (key == load) return holder;
      heap.entries.pop();
      heap.entries.emplace(load, holder);
    }
  }

 private:
  struct Heap {
    ItemGroup example;
    std::priority_queue<std::pair<int64_t, uint32_t>,
                        std::vector<std::pair<int64_t, uint32_t>>,
                        std::greater<>>
        entries;
  };

  size_t HashOf(std::span<const ItemRef> holders) const {
    size_t hash = holders.size();
    for (const ItemRef& ref : holders) {
      hash = (hash ^ ref.rank) * 0x9e3779b97f4a7c15;
      hash ^= hash >> 32;
    }
    return hash;
  }

  bool HaveSameRanks(const ItemGroup& a, const ItemGroup& b) const {
    const auto a_holders = groups_.Holders(a);
    const auto b_holders = groups_.Holders(b);
    return std::equal(a_holders.begin(), a_holders.end(), b_holders.begin(),
                      b_holders.end(),
                      [](ItemRef x, ItemRef y) { return x.rank == y.rank; });
  }

  Heap& HeapOf(const ItemGroup& group) {
    const std::span<const ItemRef> holders = groups_.Holders(group);
    std::vector<Heap>& same_hash = heaps_[HashOf(holders)];
    for (Heap& heap : same_hash) {
      if (HaveSameRanks(heap.example, group)) return heap;
    }
    Heap& heap = same_hash.emplace_back();
    heap.example = group;
    for (uint32_t holder = 0; holder < holders.size(); ++holder) {
      heap.entries.emplace(loads_[holders[holder].rank], holder);
    }
    return heap;
  }

  const ItemGroups& groups_;
  const std::vector<int64_t>& loads_;
  std::unordered_map<size_t, std::vector<Heap>> heaps_;
};

/// A replicated group in equal units of work.
struct Task {
  size_t group = 0;
  int64_t unit_nbytes = 0;
  int64_t units = 1;
};

Task MakeTask(const ItemGroups& groups, size_t number, int64_t split_nbytes) {
  const ItemGroup& group = groups.groups()[number];
  const WriteItem& item = groups.Example(group);
  const int64_t row_nbytes = RowNbytes(item);
  if (row_nbytes == 0) return {.group = number, .unit_nbytes = item.nbytes};
  const int64_t rows = item.chunk.sizes[0];
  const int64_t units =
      SplitUnits(rows, item.nbytes, group.count, split_nbytes);
  if (units == 1) return {.group = number, .unit_nbytes = item.nbytes};
  return {.group = number,
          .unit_nbytes = rows / units * row_nbytes,
          .units = units};
}

/// What each rank alone holds.
std::vector<int64_t> FixedLoads(const ItemGroups& groups) {
  std::vector<int64_t> loads(groups.plans().size());
  for (const ItemGroup& group : groups.groups()) {
    if (group.count > 1) continue;
    loads[groups.Holders(group)[0].rank] += groups.Example(group).nbytes;
  }
  return loads;
}

int64_t MaxLoad(const std::vector<int64_t>& loads) {
  return loads.empty() ? 0 : *std::max_element(loads.begin(), loads.end());
}

class LongestFirst {
 public:
  LongestFirst(const ItemGroups& groups, int64_t split_nbytes)
      : groups_(groups),
        split_nbytes_(split_nbytes),
        heaps_(groups, result_.loads) {
    result_.owners.resize(groups.groups().size());
  }

  Assignment Run() && {
    std::vector<Task> tasks;
    result_.loads = FixedLoads(groups_);
    for (size_t i = 0; i < groups_.groups().size(); ++i) {
      if (groups_.groups()[i].count == 1) continue;
      tasks.push_back(MakeTask(groups_, i, split_nbytes_));
    }
    std::sort(tasks.begin(), tasks.end(), [](const Task& a, const Task& b) {
      if (a.unit_nbytes != b.unit_nbytes) return a.unit_nbytes > b.unit_nbytes;
      return a.group < b.group;
    });
    for (const Task& task : tasks) {
      if (task.units == 1) {
        AssignWhole(task);
      } else {
        AssignUnits(task);
      }
    }
    return std::move(result_);
  }

 private:
  void Add(const ItemGroup& group, uint32_t holder, int64_t nbytes) {
    result_.loads[groups_.Holders(group)[holder].rank] += nbytes;
  }

  void AssignWhole(const Task& task) {
    const ItemGroup& group = groups_.groups()[task.group];
    const uint32_t owner = heaps_.LeastLoaded(group);
    result_.owners[task.group] = owner;
    // An object may differ in size between ranks.
    Add(group, owner, groups_.At(groups_.Holders(group)[owner]).nbytes);
  }

  void AssignUnits(const Task& task) {
    const ItemGroup& group = groups_.groups()[task.group];
    std::vector<int64_t> shares(group.count);
    for (int64_t unit = 0; unit < task.units; ++unit) {
      const uint32_t holder = heaps_.LeastLoaded(group);
      ++shares[holder];
      Add(group, holder, task.unit_nbytes);
    }
    const WriteItem& item = groups_.Example(group);
    const int64_t rows = item.chunk.sizes[0];
    const int64_t row_nbytes = RowNbytes(item);
    std::vector<Piece> pieces;
    int64_t unit = 0;
    int64_t row = 0;
    for (uint32_t holder = 0; holder < group.count; ++holder) {
      if (shares[holder] == 0) continue;
      unit += shares[holder];
      const int64_t end = FirstRowOfUnit(rows, task.units, unit);
      pieces.push_back({.holder = holder, .row_begin = row, .rows = end - row});
      Add(group, holder,
          (end - row) * row_nbytes - shares[holder] * task.unit_nbytes);
      row = end;
    }
    if (pieces.size() == 1) {
      result_.owners[task.group] = pieces[0].holder;
    } else {
      result_.pieces.emplace(task.group, std::move(pieces));
    }
  }

  const ItemGroups& groups_;
  const int64_t split_nbytes_;
  Assignment result_;
  HolderHeaps heaps_;
};

/// The bytes that torch counts for an item: those of the whole tensor, even for
/// a shard, and 1 for an object (torch 2.13 _dedup_save_plans.py).
int64_t TorchWeight(const WriteItem& item) {
  if (item.type == WriteItemType::kByteIo) return 1;
  // No real tensor has more elements; the bound keeps sums within int64.
  const int64_t numel = std::min(Numel(item.global_size), int64_t{1} << 48);
  return std::max<int64_t>(numel * ItemSize(item.properties.dtype), 1);
}

Assignment AssignAsTorch(const ItemGroups& groups) {
  const std::span<const ItemGroup> all = groups.groups();
  struct Appearance {
    ItemRef first;
    uint32_t group;
  };
  std::vector<Appearance> order;
  order.reserve(all.size());
  for (uint32_t i = 0; i < all.size(); ++i) {
    order.push_back({.first = groups.Holders(all[i])[0], .group = i});
  }
  std::sort(order.begin(), order.end(),
            [](const Appearance& a, const Appearance& b) {
              return a.first.rank != b.first.rank ? a.first.rank < b.first.rank
                                                  : a.first.item < b.first.item;
            });
  Assignment result;
  result.owners.resize(all.size());
  result.loads.resize(groups.plans().size());
  std::vector<int64_t> weights(groups.plans().size());
  HolderHeaps heaps(groups, weights);
  for (const auto& [first, i] : order) {
    const uint32_t owner = all[i].count == 1 ? 0 : heaps.LeastLoaded(all[i]);
    const ItemRef ref = groups.Holders(all[i])[owner];
    result.owners[i] = owner;
    weights[ref.rank] += TorchWeight(groups.At(ref));
    result.loads[ref.rank] += groups.At(ref).nbytes;
  }
  return result;
}

Assignment AssignToLowest(const ItemGroups& groups) {
  Assignment result;
  result.owners.resize(groups.groups().size());
  result.loads.resize(groups.plans().size());
  for (const ItemGroup& group : groups.groups()) {
    result.loads[groups.Holders(group)[0].rank] += groups.Example(group).nbytes;
  }
  return result;
}

}  // namespace

int64_t RowNbytes(const WriteItem& item) {
  if (item.type == WriteItemType::kByteIo || item.chunk.ndim() == 0) return 0;
  const int64_t rows = item.chunk.sizes[0];
  const int64_t itemsize = ItemSize(item.properties.dtype);
  if (rows < 2 || item.nbytes % itemsize != 0 ||
      item.nbytes / itemsize != item.chunk.numel()) {
    return 0;
  }
  return item.nbytes / rows;
}

Assignment AssignOwners(const ItemGroups& groups,
                        const GlobalPlanOptions& options) {
  if (options.dedup_to_lowest_rank) return AssignToLowest(groups);
  Assignment balanced = LongestFirst(groups, options.split_nbytes).Run();
  if (MaxLoad(balanced.loads) == MaxLoad(FixedLoads(groups))) {
    return balanced;  // nothing could be better
  }
  Assignment as_torch = AssignAsTorch(groups);
  return MaxLoad(as_torch.loads) < MaxLoad(balanced.loads) ? as_torch
                                                           : balanced;
}

}  // namespace dcp
