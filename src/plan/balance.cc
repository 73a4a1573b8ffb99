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
#include <limits>
#include <queue>
#include <utility>

#include "plan/split_units.h"

namespace dcp {
namespace {

/// The holders of a replica, the least loaded first.
struct Heap {
  Replica example;
  std::priority_queue<std::pair<int64_t, uint32_t>,
                      std::vector<std::pair<int64_t, uint32_t>>, std::greater<>>
      entries;
};

/// Replicas with the same holders share a heap. Loads only grow, so the key of
/// an entry is a lower bound of its load, brought up to date when it comes
/// first.
class HolderHeaps {
 public:
  HolderHeaps(const ReplicaTable& table, const std::vector<int64_t>& loads)
      : table_(table), loads_(loads) {}

  /// The result is valid until the next call.
  Heap& HeapOf(const Replica& replica) {
    std::vector<Heap>& same_hash = heaps_[HashOf(replica)];
    for (Heap& heap : same_hash) {
      if (HaveSameRanks(heap.example, replica)) return heap;
    }
    Heap& heap = same_hash.emplace_back();
    heap.example = replica;
    const std::span<const ItemRef> holders = table_.Holders(replica);
    for (uint32_t holder = 0; holder < holders.size(); ++holder) {
      heap.entries.emplace(loads_[holders[holder].rank], holder);
    }
    return heap;
  }

  /// The number among its holders; of several, the lowest.
  uint32_t LeastLoaded(Heap& heap) {
    const std::span<const ItemRef> holders = table_.Holders(heap.example);
    for (;;) {
      const auto [key, holder] = heap.entries.top();
      const int64_t load = loads_[holders[holder].rank];
      if (key == load) return holder;
      heap.entries.pop();
      heap.entries.emplace(load, holder);
    }
  }

 private:
  size_t HashOf(const Replica& replica) const {
    size_t hash = replica.count;
    for (const ItemRef& ref : table_.Holders(replica)) {
      hash = (hash ^ ref.rank) * 0x9e3779b97f4a7c15;
      hash ^= hash >> 32;
    }
    return hash;
  }

  bool HaveSameRanks(const Replica& a, const Replica& b) const {
    const auto a_holders = table_.Holders(a);
    const auto b_holders = table_.Holders(b);
    return std::equal(a_holders.begin(), a_holders.end(), b_holders.begin(),
                      b_holders.end(),
                      [](ItemRef x, ItemRef y) { return x.rank == y.rank; });
  }

  const ReplicaTable& table_;
  const std::vector<int64_t>& loads_;
  std::unordered_map<size_t, std::vector<Heap>> heaps_;
};

/// A replica in equal units of work.
struct Task {
  size_t replica = 0;
  int64_t unit_nbytes = 0;
  int64_t units = 1;
};

Task MakeTask(const ReplicaTable& table, size_t number, int64_t split_nbytes) {
  const Replica& replica = table.replicas[number];
  const int64_t units = replica.row_nbytes == 0
                            ? 1
                            : SplitUnits(replica.rows, replica.nbytes,
                                         replica.count, split_nbytes);
  if (units == 1) return {.replica = number, .unit_nbytes = replica.nbytes};
  return {.replica = number,
          .unit_nbytes = replica.rows / units * replica.row_nbytes,
          .units = units};
}

int64_t MaxLoad(const std::vector<int64_t>& loads) {
  return loads.empty() ? 0 : *std::max_element(loads.begin(), loads.end());
}

class LongestFirst {
 public:
  LongestFirst(const ReplicaTable& table, int64_t split_nbytes)
      : table_(table),
        split_nbytes_(split_nbytes),
        heaps_(table, result_.loads) {
    result_.owners.resize(table.replicas.size());
    result_.loads = table.fixed_loads;
  }

  Assignment Run() && {
    std::vector<Task> tasks;
    tasks.reserve(table_.replicas.size());
    for (size_t i = 0; i < table_.replicas.size(); ++i) {
      tasks.push_back(MakeTask(table_, i, split_nbytes_));
    }
    std::sort(tasks.begin(), tasks.end(), [](const Task& a, const Task& b) {
      if (a.unit_nbytes != b.unit_nbytes) return a.unit_nbytes > b.unit_nbytes;
      return a.replica < b.replica;
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
  void Add(const Replica& replica, uint32_t holder, int64_t nbytes) {
    result_.loads[table_.Holders(replica)[holder].rank] += nbytes;
  }

  void AssignWhole(const Task& task) {
    const Replica& replica = table_.replicas[task.replica];
    const uint32_t owner = heaps_.LeastLoaded(heaps_.HeapOf(replica));
    result_.owners[task.replica] = owner;
    Add(replica, owner, table_.NbytesOf(replica, owner));
  }

  void AssignUnits(const Task& task) {
    const Replica& replica = table_.replicas[task.replica];
    Heap& heap = heaps_.HeapOf(replica);
    std::vector<int64_t> shares(replica.count);
    for (int64_t unit = 0; unit < task.units; ++unit) {
      const uint32_t holder = heaps_.LeastLoaded(heap);
      ++shares[holder];
      Add(replica, holder, task.unit_nbytes);
    }
    std::vector<Piece> pieces;
    int64_t unit = 0;
    int64_t row = 0;
    for (uint32_t holder = 0; holder < replica.count; ++holder) {
      if (shares[holder] == 0) continue;
      unit += shares[holder];
      const int64_t end = FirstRowOfUnit(replica.rows, task.units, unit);
      pieces.push_back({.holder = holder, .row_begin = row, .rows = end - row});
      Add(replica, holder,
          (end - row) * replica.row_nbytes - shares[holder] * task.unit_nbytes);
      row = end;
    }
    if (pieces.size() == 1) {
      result_.owners[task.replica] = pieces[0].holder;
    } else {
      result_.pieces.emplace(task.replica, std::move(pieces));
    }
  }

  const ReplicaTable& table_;
  const int64_t split_nbytes_;
  Assignment result_;
  HolderHeaps heaps_;
};

/// torch goes through the items of rank 0, then those of rank 1, and so on, and
/// gives each chunk where it first appears. What ranks above that one alone
/// hold does not count yet.
Assignment AssignAsTorch(const ReplicaTable& table,
                         const AloneBefore& alone_before) {
  std::vector<uint32_t> order(table.replicas.size());
  for (uint32_t i = 0; i < order.size(); ++i) order[i] = i;
  const auto first_of = [&](uint32_t replica) {
    return table.holders[table.replicas[replica].first];
  };
  std::sort(order.begin(), order.end(), [&](uint32_t a, uint32_t b) {
    const ItemRef first = first_of(a);
    const ItemRef other = first_of(b);
    return first.rank != other.rank ? first.rank < other.rank
                                    : first.item < other.item;
  });
  Assignment result{.loads = table.fixed_loads};
  result.owners.resize(order.size());
  std::vector<int64_t> weights(table.fixed_loads.size());
  std::vector<int64_t> counted(table.fixed_loads.size());
  HolderHeaps heaps(table, weights);
  for (const uint32_t i : order) {
    const ItemRef first = first_of(i);
    const int64_t alone = alone_before(first);
    weights[first.rank] =
        AddWeights(weights[first.rank], alone - counted[first.rank]);
    counted[first.rank] = alone;
    const Replica& replica = table.replicas[i];
    const uint32_t owner = heaps.LeastLoaded(heaps.HeapOf(replica));
    const ItemRef ref = table.Holders(replica)[owner];
    result.owners[i] = owner;
    weights[ref.rank] = AddWeights(weights[ref.rank], replica.torch_weight);
    result.loads[ref.rank] += table.NbytesOf(replica, owner);
  }
  return result;
}

Assignment AssignToLowest(const ReplicaTable& table) {
  Assignment result{.loads = table.fixed_loads};
  result.owners.resize(table.replicas.size());
  for (const Replica& replica : table.replicas) {
    result.loads[table.holders[replica.first].rank] += replica.nbytes;
  }
  return result;
}

}  // namespace

int64_t ReplicaTable::NbytesOf(const Replica& replica, uint32_t holder) const {
  if (other_nbytes.empty()) return replica.nbytes;
  const auto other = other_nbytes.find(replica.first + holder);
  return other == other_nbytes.end() ? replica.nbytes : other->second;
}

int64_t RowNbytes(int64_t rows, int64_t numel, int64_t nbytes,
                  int64_t itemsize) {
  if (rows < 2 || nbytes % itemsize != 0 || nbytes / itemsize != numel) {
    return 0;
  }
  return nbytes / rows;
}

int64_t TorchWeight(const Dims& global_size, int64_t itemsize) {
  // No real tensor has more elements; the bound keeps the product in 64 bits.
  const int64_t numel = std::min(Numel(global_size), int64_t{1} << 48);
  return std::max<int64_t>(numel * itemsize, 1);
}

int64_t AddWeights(int64_t a, int64_t b) {
  int64_t sum = 0;
  if (!__builtin_add_overflow(a, b, &sum)) return sum;
  return std::numeric_limits<int64_t>::max();
}

Assignment AssignReplicas(const ReplicaTable& table,
                          const GlobalPlanOptions& options,
                          const AloneBefore& alone_before) {
  if (options.dedup_to_lowest_rank) return AssignToLowest(table);
  Assignment balanced = LongestFirst(table, options.split_nbytes).Run();
  if (MaxLoad(balanced.loads) == MaxLoad(table.fixed_loads)) {
    return balanced;  // nothing could be better
  }
  Assignment as_torch = AssignAsTorch(table, alone_before);
  return MaxLoad(as_torch.loads) < MaxLoad(balanced.loads) ? as_torch
                                                           : balanced;
}

}  // namespace dcp
