#include "plan/item_pieces.h"

#include "plan/balance.h"

namespace dcp {

int64_t RowNbytesOf(const WriteItem& item) {
  if (item.type == WriteItemType::kByteIo || item.chunk.ndim() == 0) return 0;
  return RowNbytes(item.chunk.sizes[0], item.chunk.numel(), item.nbytes,
                   ItemSize(item.properties.dtype));
}

Box RowsOf(const Box& chunk, int64_t row_begin, int64_t rows) {
  Box piece = chunk;
  piece.offsets[0] += row_begin;
  piece.sizes[0] = rows;
  return piece;
}

void CutToRows(int64_t row_begin, int64_t rows, WriteItem* item) {
  const int64_t row_nbytes = RowNbytesOf(*item);
  item->type = WriteItemType::kShard;
  item->chunk = RowsOf(item->chunk, row_begin, rows);
  item->nbytes = rows * row_nbytes;
}

}  // namespace dcp
