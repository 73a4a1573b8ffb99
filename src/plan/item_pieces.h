// Pieces of items: some rows (indices of dim 0) of what a rank holds.

#ifndef DCP_PLAN_ITEM_PIECES_H_
#define DCP_PLAN_ITEM_PIECES_H_

#include <cstdint>

#include "dcp/plan.h"

namespace dcp {

/// The bytes of one row of `item`'s chunk (RowNbytes of balance.h); 0 for
/// objects and scalars.
int64_t RowNbytesOf(const WriteItem& item);

/// Rows [row_begin, row_begin + rows) of `chunk`.
Box RowsOf(const Box& chunk, int64_t row_begin, int64_t rows);

/// Makes `item`, which has rows, the shard of some of them.
void CutToRows(int64_t row_begin, int64_t rows, WriteItem* item);

}  // namespace dcp

#endif  // DCP_PLAN_ITEM_PIECES_H_
