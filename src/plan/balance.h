// Balancing: which holder of every distinct item writes it.

#ifndef DCP_PLAN_BALANCE_H_
#define DCP_PLAN_BALANCE_H_

#include <cstdint>
#include <unordered_map>
#include <vector>

#include "dcp/plan.h"
#include "plan/item_groups.h"

namespace dcp {

/// Rows [row_begin, row_begin + rows) of a chunk, for its holder number
/// `holder`.
struct Piece {
  uint32_t holder = 0;
  int64_t row_begin = 0;
  int64_t rows = 0;
};

struct Assignment {
  /// The number of the owner among the holders, for every group.
  std::vector<uint32_t> owners;
  /// Groups that are split, instead: their pieces by row.
  std::unordered_map<size_t, std::vector<Piece>> pieces;
  /// Bytes that each rank writes.
  std::vector<int64_t> loads;
};

/// The bytes of one row (index of dim 0) of `item`'s chunk, or 0 if it cannot
/// be split between rows: fewer than two, or stored encoded.
int64_t RowNbytes(const WriteItem& item);

/// See CreateGlobalSavePlan.
Assignment AssignOwners(const ItemGroups& groups,
                        const GlobalPlanOptions& options);

}  // namespace dcp

#endif  // DCP_PLAN_BALANCE_H_
