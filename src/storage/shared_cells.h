// What lies in a cell of a file that several ranks write, and what they send
// each other for it. Pure. shared_part.h has the rules.

#ifndef DCP_STORAGE_SHARED_CELLS_H_
#define DCP_STORAGE_SHARED_CELLS_H_

#include <cstddef>
#include <cstdint>
#include <map>
#include <span>
#include <vector>

#include "storage/shared_part.h"

namespace dcp {

/// Elements [begin, end) of a chunk's own row-major image, which all lie in one
/// cell. Pointers are into the SharedPartFile.
struct CellPart {
  const SharedPartTensor* tensor = nullptr;
  const SharedPartChunk* chunk = nullptr;
  int64_t begin = 0;
  int64_t end = 0;

  int64_t nbytes() const { return (end - begin) * ItemSize(tensor->dtype); }
};

/// Bytes [begin, end) of file number `file` of a SharedPart.
struct Cell {
  size_t file = 0;
  int64_t begin = 0;
  int64_t end = 0;
  auto operator<=>(const Cell&) const = default;
};

/// The cell that begins at `begin`, which lies in `extent`.
Cell CellAt(size_t file, const OwnedExtent& extent, int64_t begin);

/// What lies in the cell, in the order of tensors and chunks.
std::vector<CellPart> PartsOf(const SharedPartFile& file, const Cell& cell);

/// Copies `bytes`, those of `part`, to where they lie in the cell, whose bytes
/// are `out`.
void PutPart(const CellPart& part, const Cell& cell,
             std::span<const std::byte> bytes, std::span<std::byte> out);

/// What this rank and one other exchange.
struct CellMessages {
  /// What it is sent: for each message its parts.
  std::vector<std::vector<CellPart>> outgoing;
  /// Bytes of each message that it sends.
  std::vector<int64_t> incoming;
  /// The message of a cell, among `incoming`.
  std::map<Cell, size_t> incoming_of;
};

/// By rank of the other. `part` outlives the result.
std::map<int, CellMessages> MessagesOf(const SharedPart& part, int rank);

}  // namespace dcp

#endif  // DCP_STORAGE_SHARED_CELLS_H_
