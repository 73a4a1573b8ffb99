#include "storage/shared_outcome.h"

#include <algorithm>
#include <utility>

#include "base/wire.h"

namespace dcp {

std::string SerializeSharedOutcome(const SharedOutcome& outcome) {
  WireWriter out;
  out.PutVarint(outcome.size());
  for (const std::vector<ChecksumPiece>& pieces : outcome) {
    out.PutVarint(pieces.size());
    int64_t at = 0;
    for (const ChecksumPiece& piece : pieces) {
      out.PutSigned(piece.begin - at);
      out.PutSigned(piece.nbytes);
      out.PutU32(piece.crc);
      at = piece.begin + piece.nbytes;
    }
  }
  return std::move(out).Take();
}

StatusOr<SharedOutcome> ParseSharedOutcome(std::string_view data) {
  WireReader in(data, "a rank's checksums");
  SharedOutcome outcome(in.Count(1));
  for (std::vector<ChecksumPiece>& pieces : outcome) {
    pieces.resize(in.Count(6));
    int64_t at = 0;
    for (ChecksumPiece& piece : pieces) {
      const bool overflows =
          __builtin_add_overflow(at, in.Signed(), &piece.begin);
      piece.nbytes = in.Signed();
      piece.crc = in.U32();
      if (overflows || piece.nbytes <= 0 ||
          __builtin_add_overflow(piece.begin, piece.nbytes, &at)) {
        in.Fail();
      }
    }
  }
  DCP_RETURN_IF_ERROR(in.Finish());
  return outcome;
}

StatusOr<std::vector<uint32_t>> JoinChecksums(std::vector<ChecksumPiece> pieces,
                                              int64_t file_nbytes,
                                              const std::string& name) {
  std::sort(pieces.begin(), pieces.end(),
            [](const ChecksumPiece& a, const ChecksumPiece& b) {
              return a.begin < b.begin;
            });
  BlockChecksums checksums;
  int64_t at = 0;
  for (const ChecksumPiece& piece : pieces) {
    if (piece.begin != at) break;
    checksums.Add(piece.begin, piece.nbytes, piece.crc);
    at += piece.nbytes;
  }
  const bool all_used =
      pieces.empty() || at == pieces.back().begin + pieces.back().nbytes;
  if (at != file_nbytes || !all_used) {
    return Internal("of " + name + " the byte " + std::to_string(at) +
                    " was written by no rank, or by two (it has " +
                    std::to_string(file_nbytes) + ")");
  }
  return checksums.Finish(file_nbytes);
}

}  // namespace dcp
