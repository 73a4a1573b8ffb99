#include "storage/grid_check.h"

#include <algorithm>
#include <utility>

#include "base/checksum.h"
#include "storage/block_checksums.h"

namespace dcp {

GridCheck::GridCheck(OpenFile& file, std::span<const StoredItem> items,
                     DamageLog& log)
    : file_(file), items_(items), log_(log) {
  const int64_t written = file.record->nbytes;
  if (file.nbytes == written) return;
  const std::string what = "the file has " + std::to_string(file.nbytes) +
                           " bytes, " + std::to_string(written) +
                           " were written";
  if (file.nbytes < written) {
    // Of the cell that is cut nothing can be vouched for.
    AddRange({.begin = file.nbytes / kChecksumBlock * kChecksumBlock,
              .end = written,
              .message = what},
             file.file->path(), items, log);
  } else {
    log.Add({.path = file.file->path(),
             .byte_offset = written,
             .nbytes = file.nbytes - written,
             .message = what});
  }
}

std::vector<CheckedBlock> GridCheck::Blocks(int64_t max_nbytes) {
  // A cell that is cut off has been reported with the size.
  const int64_t end = file_.nbytes >= file_.record->nbytes
                          ? file_.record->nbytes
                          : file_.nbytes / kChecksumBlock * kChecksumBlock;
  std::vector<CheckedBlock> blocks;
  for (int64_t begin = 0; begin < end; begin += max_nbytes) {
    blocks.push_back(
        {.byte_offset = begin, .nbytes = std::min(max_nbytes, end - begin)});
  }
  return blocks;
}

void GridCheck::Check(const CheckedBlock& block,
                      std::span<const std::byte> bytes) {
  const int64_t end = block.byte_offset + block.nbytes;
  for (int64_t cell = block.byte_offset; cell < end; cell += kChecksumBlock) {
    const int64_t nbytes = std::min(kChecksumBlock, end - cell);
    const uint32_t crc =
        Crc32(0, bytes.subspan(static_cast<size_t>(cell - block.byte_offset),
                               static_cast<size_t>(nbytes)));
    const auto index = static_cast<size_t>(cell / kChecksumBlock);
    if (crc == file_.record->block_crcs[index]) continue;
    AddBad({.begin = cell,
            .end = cell + nbytes,
            .message = "stored bytes differ from their recorded CRC-32"});
  }
}

void GridCheck::ReadFailed(const CheckedBlock& block, const Status& error) {
  AddBad({.begin = block.byte_offset,
          .end = block.byte_offset + block.nbytes,
          .message = std::string(Message(error))});
}

void GridCheck::AddBad(BadRange range) {
  MutexLock lock(mutex_);
  bad_.push_back(std::move(range));
}

void GridCheck::Finish() {
  MutexLock lock(mutex_);
  std::sort(bad_.begin(), bad_.end(), [](const BadRange& a, const BadRange& b) {
    return a.begin < b.begin;
  });
  for (size_t i = 0; i < bad_.size();) {
    // Neighbours with the same fault are one.
    BadRange range = std::move(bad_[i++]);
    while (i < bad_.size() && bad_[i].begin == range.end &&
           bad_[i].message == range.message) {
      range.end = bad_[i++].end;
    }
    AddRange(range, file_.file->path(), items_, log_);
  }
}

}  // namespace dcp
