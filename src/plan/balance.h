// Balancing: which of its holders writes what several ranks hold.

#ifndef DCP_PLAN_BALANCE_H_
#define DCP_PLAN_BALANCE_H_

#include <cstddef>
#include <cstdint>
#include <functional>
#include <span>
#include <unordered_map>
#include <vector>

#include "dcp/plan.h"
#include "plan/item_ref.h"

namespace dcp {

/// A chunk or object that several ranks hold: ReplicaTable::holders
/// [first, first + count), ascending by rank.
struct Replica {
  size_t first = 0;
  uint32_t count = 0;
  int64_t nbytes = 0;  ///< the lowest holder's
  int64_t rows = 0;
  /// See RowNbytes; 0 also if holders have it in other forms, of other bytes.
  int64_t row_nbytes = 0;
  int64_t torch_weight = 0;
};

/// All that balancing needs to know of the plans of all ranks.
struct ReplicaTable {
  std::vector<Replica> replicas;  ///< of equals the first is dealt out first
  std::vector<ItemRef> holders;
  /// Positions of holders whose bytes are not the lowest holder's, as those of
  /// objects may be.
  std::unordered_map<size_t, int64_t> other_nbytes;
  /// Bytes that each rank writes because it alone holds them.
  std::vector<int64_t> fixed_loads;

  std::span<const ItemRef> Holders(const Replica& replica) const {
    return std::span(holders).subspan(replica.first, replica.count);
  }
  int64_t NbytesOf(const Replica& replica, uint32_t holder) const;
};

/// Rows [row_begin, row_begin + rows) of a chunk, for its holder number
/// `holder`.
struct Piece {
  uint32_t holder = 0;
  int64_t row_begin = 0;
  int64_t rows = 0;
};

struct Assignment {
  /// The number of the owner among the holders, for every replica.
  std::vector<uint32_t> owners;
  /// Those that are split, instead: their pieces by row.
  std::unordered_map<size_t, std::vector<Piece>> pieces;
  /// Bytes that each rank writes.
  std::vector<int64_t> loads;
};

/// The TorchWeight of what the rank of `item` alone holds, of its items before
/// this one. Called with ascending items.
using AloneBefore = std::function<int64_t(ItemRef item)>;

/// See CreateGlobalSavePlan.
Assignment AssignReplicas(const ReplicaTable& table,
                          const GlobalPlanOptions& options,
                          const AloneBefore& alone_before);

/// The bytes of one row (index of dim 0) of a chunk of `numel` elements, or 0
/// if it cannot be split between rows: fewer than two, or stored encoded.
int64_t RowNbytes(int64_t rows, int64_t numel, int64_t nbytes,
                  int64_t itemsize);

/// The bytes that torch counts for an item: those of the whole tensor, even for
/// a shard (torch 2.13 _dedup_save_plans.py). It counts an object as 1.
int64_t TorchWeight(const Dims& global_size, int64_t itemsize);
/// The sum of two weights, or the largest number if 64 bits do not do for it:
/// a rank may list any number of tensors as large as it likes, of a row each.
int64_t AddWeights(int64_t a, int64_t b);

}  // namespace dcp

#endif  // DCP_PLAN_BALANCE_H_
