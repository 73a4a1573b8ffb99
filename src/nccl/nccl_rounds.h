// CutIntoRounds: messages of any length through a buffer of fixed size.

#ifndef DCP_NCCL_NCCL_ROUNDS_H_
#define DCP_NCCL_NCCL_ROUNDS_H_

#include <cstdint>
#include <span>
#include <vector>

#include "nccl/nccl_link.h"

namespace dcp {

/// A part of a peer's message, and its place in the buffer for one round.
struct NcclPiece {
  uint64_t begin = 0;  ///< in the message
  NcclTransfer transfer;
};

/// The longest piece. Both ends cut a message into pieces of this, and know
/// nothing of the rounds of the other.
inline constexpr size_t kNcclPieceNbytes = size_t{1} << 20;

/// What goes between this rank and peer i, `sizes[i]` bytes, in rounds that fit
/// the buffer, each with one piece a peer at most.
std::vector<std::vector<NcclPiece>> CutIntoRounds(
    std::span<const uint64_t> sizes);

/// The transfers of a round.
std::vector<NcclTransfer> TransfersOf(std::span<const NcclPiece> round);

}  // namespace dcp

#endif  // DCP_NCCL_NCCL_ROUNDS_H_
