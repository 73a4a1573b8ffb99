// ArchiveCheck: an archive of torch.save that is a file of its own, by the
// CRC-32s of its records.

#ifndef DCP_STORAGE_ARCHIVE_CHECK_H_
#define DCP_STORAGE_ARCHIVE_CHECK_H_

#include <cstdint>
#include <map>
#include <span>
#include <utility>
#include <vector>

#include "absl/base/thread_annotations.h"
#include "base/mutex.h"
#include "format/torch_item_reader.h"
#include "storage/block_check.h"
#include "storage/damage_log.h"
#include "storage/stored_item.h"

namespace dcp {

class ArchiveCheck final : public BlockCheck {
 public:
  /// `records` are those of `file`; without a CRC-32 they are not read. `items`
  /// are the keys and the records that they need, by offset. All but the
  /// records outlive the check.
  ArchiveCheck(File& file, std::vector<ItemRecord> records,
               std::span<const StoredItem> items, DamageLog& log)
      : file_(file), records_(std::move(records)), items_(items), log_(log) {}

  /// Bytes that have a CRC-32.
  int64_t nbytes() const;

  File& file() override { return file_; }
  std::vector<CheckedBlock> Blocks(int64_t max_nbytes) override;
  void Check(const CheckedBlock& block,
             std::span<const std::byte> bytes) override;
  void ReadFailed(const CheckedBlock& block, const Status& error) override;
  void Finish() override;

 private:
  /// What one block has of one record.
  struct Piece {
    size_t record = 0;
    int64_t byte_offset = 0;  ///< in the file
    int64_t nbytes = 0;
    uint32_t crc32 = 0;
  };

  std::span<Piece> PiecesOf(const CheckedBlock& block);

  File& file_;
  const std::vector<ItemRecord> records_;
  const std::span<const StoredItem> items_;
  DamageLog& log_;
  std::vector<Piece> pieces_;        // by offset, and so by record and by block
  std::vector<size_t> first_piece_;  // of each block
  Mutex mutex_;
  std::map<size_t, Status> unread_ ABSL_GUARDED_BY(mutex_);  // records
};

}  // namespace dcp

#endif  // DCP_STORAGE_ARCHIVE_CHECK_H_
