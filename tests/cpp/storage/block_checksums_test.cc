#include "storage/block_checksums.h"

#include <algorithm>
#include <catch2/catch.hpp>
#include <string>
#include <vector>

#include "base/checksum.h"
#include "base/tensor_cases.h"
#include "conformance/bytes.h"
#include "format/bytes.h"

namespace dcp {
namespace {

std::vector<uint32_t> CellsOf(const std::string& file) {
  std::vector<uint32_t> crcs;
  for (size_t at = 0; at < file.size(); at += size_t{kChecksumBlock}) {
    crcs.push_back(Crc32(0, AsBytes(file.substr(at, kChecksumBlock))));
  }
  return crcs;
}

TEST_CASE(
    "pieces in any order, and zeros between them, make the CRC of every "
    "block",
    "[storage]") {
  Random random(3);
  for (int round = 0; round < 30; ++round) {
    const auto size = static_cast<size_t>(random.Between(0, 3 << 20));
    std::string file = conformance::RandomBytes(random.engine(), size);
    struct Piece {
      size_t begin, nbytes;
    };
    std::vector<Piece> pieces;
    for (size_t at = 0; at < size;) {
      const size_t cell_end = (at / kChecksumBlock + 1) * kChecksumBlock;
      const auto most = static_cast<int64_t>(std::min(size, cell_end) - at);
      const auto n =
          static_cast<size_t>(random.OneIn(2) ? most : random.Between(1, most));
      if (random.OneIn(4)) {
        std::fill_n(file.begin() + static_cast<std::ptrdiff_t>(at), n, '\0');
      } else {
        pieces.push_back({at, n});
      }
      at += n;
    }
    std::shuffle(pieces.begin(), pieces.end(), random.engine);
    BlockChecksums checksums;
    for (const Piece& piece : pieces) {
      checksums.Add(static_cast<int64_t>(piece.begin),
                    static_cast<int64_t>(piece.nbytes),
                    Crc32(0, AsBytes(std::string_view(file).substr(
                                 piece.begin, piece.nbytes))));
    }
    CHECK(checksums.Finish(static_cast<int64_t>(size)) == CellsOf(file));
  }
}

}  // namespace
}  // namespace dcp
