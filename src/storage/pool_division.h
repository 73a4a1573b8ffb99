// Who reads what of a pool: the ranks of one host that read together what
// several of them need. Pure.

#ifndef DCP_STORAGE_POOL_DIVISION_H_
#define DCP_STORAGE_POOL_DIVISION_H_

#include <cstddef>
#include <cstdint>
#include <span>
#include <string>
#include <vector>

#include "storage/pool_needs.h"

namespace dcp {

/// Members of a pool have numbers below it: they are bits.
inline constexpr size_t kMaxPoolMembers = 64;
/// Of the bytes that a piece hands over.
inline constexpr int64_t kMaxPieceNbytes = int64_t{4} << 20;
/// What is cut at a multiple of it cuts no element, if it begins with one.
inline constexpr int64_t kPieceOverhang = 16;

/// Bytes [begin, end) of a file that one member reads and several take.
struct PoolPiece {
  size_t file = 0;  ///< in PoolDivision::files
  int64_t begin = 0;
  int64_t end = 0;
  /// Up to kPieceOverhang bytes behind `end`, of the next piece, are read as
  /// well where a cut may lie within an element (not in cells).
  int64_t read_end = 0;
  size_t reader = 0;    ///< member
  size_t number = 0;    ///< of the reader's pieces
  uint64_t takers = 0;  ///< a bit for each member
};

struct PoolFile {
  std::string name;
  bool in_cells = false;
};

struct PoolDivision {
  std::vector<PoolFile> files;       ///< by name
  std::vector<PoolPiece> pieces;     ///< by file and begin
  std::vector<size_t> piece_counts;  ///< pieces, by member
  int64_t piece_nbytes = 0;          ///< of the largest, as it is read
};

/// Gives every byte that several of `members` (kMaxPoolMembers at most) need
/// one of them as its reader, so that all read about as much; what one member
/// needs for itself counts as well. No pieces if that would save less than an
/// eighth of what all read, or next to nothing, or if what is common is in many
/// short ranges: meeting costs something, too. None of more than
/// kMaxPoolNbytes.
///
/// All members work it out by themselves, from the same needs.
PoolDivision DividePool(std::span<const PoolNeeds> members);

}  // namespace dcp

#endif  // DCP_STORAGE_POOL_DIVISION_H_
