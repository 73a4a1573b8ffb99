#include "nccl/nccl_rounds.h"

#include <algorithm>

namespace dcp {

std::vector<std::vector<NcclPiece>> CutIntoRounds(
    std::span<const uint64_t> sizes) {
  std::vector<std::vector<NcclPiece>> rounds;
  bool is_more_left = true;
  for (uint64_t begin = 0; is_more_left; begin += kNcclPieceNbytes) {
    is_more_left = false;
    size_t used = NcclLink::kBufferNbytes;  // the last round takes no more
    for (size_t peer = 0; peer < sizes.size(); ++peer) {
      if (sizes[peer] <= begin) continue;
      is_more_left = true;
      const auto nbytes = static_cast<size_t>(
          std::min<uint64_t>(sizes[peer] - begin, kNcclPieceNbytes));
      if (used + nbytes > NcclLink::kBufferNbytes) {
        rounds.emplace_back();
        used = 0;
      }
      rounds.back().push_back({.begin = begin,
                               .transfer = {.peer = static_cast<int>(peer),
                                            .offset = used,
                                            .nbytes = nbytes}});
      used += nbytes;
    }
  }
  return rounds;
}

std::vector<NcclTransfer> TransfersOf(std::span<const NcclPiece> round) {
  std::vector<NcclTransfer> transfers;
  transfers.reserve(round.size());
  for (const NcclPiece& piece : round) transfers.push_back(piece.transfer);
  return transfers;
}

}  // namespace dcp
