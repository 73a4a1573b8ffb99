#include "storage/block_checksums.h"

#include <algorithm>
#include <array>
#include <cstddef>
#include <span>
#include <utility>

#include "base/checksum.h"

namespace dcp {
namespace {

uint32_t AppendZeros(uint32_t crc, int64_t nbytes) {
  static constexpr std::array<std::byte, 4096> kZeros{};
  while (nbytes > 0) {
    const auto n = std::min<int64_t>(nbytes, kZeros.size());
    crc = Crc32(crc, std::span(kZeros).first(static_cast<size_t>(n)));
    nbytes -= n;
  }
  return crc;
}

bool ComesBefore(const ChecksumPiece& a, const ChecksumPiece& b) {
  return a.begin < b.begin;
}

}  // namespace

void BlockChecksums::Add(int64_t begin, int64_t nbytes, uint32_t crc) {
  MutexLock lock(mutex_);
  pieces_.push_back({.begin = begin, .nbytes = nbytes, .crc = crc});
}

std::vector<uint32_t> BlockChecksums::Finish(int64_t file_nbytes) {
  MutexLock lock(mutex_);
  std::sort(pieces_.begin(), pieces_.end(), ComesBefore);
  std::vector<uint32_t> crcs;
  auto piece = pieces_.begin();
  for (int64_t block = 0; block < file_nbytes; block += kChecksumBlock) {
    const int64_t end = std::min(block + kChecksumBlock, file_nbytes);
    int64_t position = block;
    uint32_t crc = 0;
    for (; piece != pieces_.end() && piece->begin < end; ++piece) {
      crc = AppendZeros(crc, piece->begin - position);
      crc = Crc32Combine(crc, piece->crc, piece->nbytes);
      position = piece->begin + piece->nbytes;
    }
    crcs.push_back(AppendZeros(crc, end - position));
  }
  return crcs;
}

std::vector<ChecksumPiece> BlockChecksums::TakePieces() {
  MutexLock lock(mutex_);
  std::sort(pieces_.begin(), pieces_.end(), ComesBefore);
  return std::move(pieces_);
}

}  // namespace dcp
