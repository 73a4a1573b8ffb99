#include "storage/archive_check.h"

#include <algorithm>
#include <string>

#include "base/checksum.h"

namespace dcp {
namespace {

// Reading over fewer bytes than this costs less than another read.
constexpr int64_t kMaxGap = int64_t{64} << 10;

}  // namespace

int64_t ArchiveCheck::nbytes() const {
  int64_t nbytes = 0;
  for (const ItemRecord& record : records_) {
    if (record.crc32 != 0) nbytes += record.nbytes;
  }
  return nbytes;
}

std::vector<CheckedBlock> ArchiveCheck::Blocks(int64_t max_nbytes) {
  std::vector<CheckedBlock> blocks;
  for (size_t i = 0; i < records_.size(); ++i) {
    const ItemRecord& record = records_[i];
    if (record.crc32 == 0) continue;
    const int64_t end = record.offset + record.nbytes;
    for (int64_t at = record.offset; at < end;) {
      if (blocks.empty() ||
          at > blocks.back().byte_offset + blocks.back().nbytes + kMaxGap ||
          at >= blocks.back().byte_offset + max_nbytes) {
        blocks.push_back({.number = static_cast<uint32_t>(blocks.size()),
                          .byte_offset = at});
        first_piece_.push_back(pieces_.size());
      }
      CheckedBlock& block = blocks.back();
      const int64_t nbytes = std::min(end, block.byte_offset + max_nbytes) - at;
      pieces_.push_back({.record = i, .byte_offset = at, .nbytes = nbytes});
      at += nbytes;
      block.nbytes = at - block.byte_offset;
    }
  }
  first_piece_.push_back(pieces_.size());
  return blocks;
}

std::span<ArchiveCheck::Piece> ArchiveCheck::PiecesOf(
    const CheckedBlock& block) {
  const size_t first = first_piece_[block.number];
  return std::span(pieces_).subspan(first,
                                    first_piece_[block.number + 1] - first);
}

void ArchiveCheck::Check(const CheckedBlock& block,
                         std::span<const std::byte> bytes) {
  for (Piece& piece : PiecesOf(block)) {
    const auto at = static_cast<size_t>(piece.byte_offset - block.byte_offset);
    piece.crc32 =
        Crc32(0, bytes.subspan(at, static_cast<size_t>(piece.nbytes)));
  }
}

void ArchiveCheck::ReadFailed(const CheckedBlock& block, const Status& error) {
  const MutexLock lock(mutex_);
  for (const Piece& piece : PiecesOf(block)) {
    unread_.try_emplace(piece.record, error);
  }
}

void ArchiveCheck::Finish() {
  std::vector<uint32_t> crcs(records_.size(), 0);
  for (const Piece& piece : pieces_) {
    uint32_t& crc = crcs[piece.record];
    crc = Crc32Combine(crc, piece.crc32, piece.nbytes);
  }
  const MutexLock lock(mutex_);
  for (size_t i = 0; i < records_.size(); ++i) {
    const ItemRecord& record = records_[i];
    const auto unread = unread_.find(i);
    const bool is_unread = unread != unread_.end();
    if (!is_unread && (record.crc32 == 0 || crcs[i] == record.crc32)) continue;
    AddRange({.begin = record.offset,
              .end = record.offset + record.nbytes,
              .message = is_unread ? std::string(Message(unread->second))
                                   : "record " + record.name +
                                         " does not match its CRC-32"},
             file_.path(), items_, log_);
  }
}

}  // namespace dcp
