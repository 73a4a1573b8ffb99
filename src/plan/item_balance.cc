#include "plan/item_balance.h"

#include <numeric>
#include <utility>

#include "plan/item_pieces.h"

namespace dcp {
namespace {

int64_t TorchWeightOf(const WriteItem& item) {
  if (item.type == WriteItemType::kByteIo) return 1;
  return TorchWeight(item.global_size, ItemSize(item.properties.dtype));
}

/// What several ranks hold of `groups`, and the numbers of these groups.
struct Replicas {
  ReplicaTable table;
  std::vector<size_t> groups;
};

Replicas FindReplicas(const ItemGroups& groups) {
  Replicas found;
  ReplicaTable& table = found.table;
  table.fixed_loads.resize(groups.plans().size());
  for (size_t i = 0; i < groups.groups().size(); ++i) {
    const ItemGroup& group = groups.groups()[i];
    const WriteItem& item = groups.Example(group);
    const std::span<const ItemRef> holders = groups.Holders(group);
    if (group.count == 1) {
      table.fixed_loads[holders[0].rank] += item.nbytes;
      continue;
    }
    const bool has_rows = item.chunk.ndim() > 0;
    Replica replica{.first = table.holders.size(),
                    .count = group.count,
                    .nbytes = item.nbytes,
                    .rows = has_rows ? item.chunk.sizes[0] : 0,
                    .row_nbytes = RowNbytesOf(item),
                    .torch_weight = TorchWeightOf(item)};
    for (const ItemRef& ref : holders) {
      const int64_t nbytes = groups.At(ref).nbytes;
      if (nbytes != item.nbytes) {
        table.other_nbytes.emplace(table.holders.size(), nbytes);
        replica.row_nbytes = 0;
      }
      table.holders.push_back(ref);
    }
    table.replicas.push_back(replica);
    found.groups.push_back(i);
  }
  return found;
}

/// The torch weight of what each rank alone holds before each of its items.
std::vector<std::vector<int64_t>> WeightsBefore(const ItemGroups& groups) {
  std::vector<std::vector<int64_t>> weights;
  for (const SavePlan& plan : groups.plans()) {
    weights.emplace_back(plan.items.size());
  }
  for (const ItemGroup& group : groups.groups()) {
    if (group.count > 1) continue;
    const ItemRef ref = groups.Holders(group)[0];
    weights[ref.rank][ref.item] = TorchWeightOf(groups.At(ref));
  }
  for (std::vector<int64_t>& of_rank : weights) {
    std::exclusive_scan(of_rank.begin(), of_rank.end(), of_rank.begin(),
                        int64_t{0}, AddWeights);
  }
  return weights;
}

}  // namespace

Assignment AssignOwners(const ItemGroups& groups,
                        const GlobalPlanOptions& options) {
  const Replicas found = FindReplicas(groups);
  std::vector<std::vector<int64_t>> weights;  // made when they are asked for
  const auto alone_before = [&](ItemRef before) {
    if (weights.empty()) weights = WeightsBefore(groups);
    return weights[before.rank][before.item];
  };
  Assignment of_replicas = AssignReplicas(found.table, options, alone_before);
  Assignment result{.loads = std::move(of_replicas.loads)};
  result.owners.resize(groups.groups().size());
  for (size_t i = 0; i < found.groups.size(); ++i) {
    result.owners[found.groups[i]] = of_replicas.owners[i];
  }
  for (auto& [replica, pieces] : of_replicas.pieces) {
    result.pieces.emplace(found.groups[replica], std::move(pieces));
  }
  return result;
}

}  // namespace dcp
