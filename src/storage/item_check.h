// Checks of items by what they say of themselves: the zip around them, its
// CRC-32s, and that the tensor is the one that the metadata describes.

#ifndef DCP_STORAGE_ITEM_CHECK_H_
#define DCP_STORAGE_ITEM_CHECK_H_

#include <atomic>
#include <span>
#include <string>
#include <vector>

#include "format/torch_item_reader.h"
#include "storage/block_check.h"
#include "storage/damage_log.h"
#include "storage/open_files.h"
#include "storage/whole_item.h"

namespace dcp {

/// Items up to this size are read and checked whole.
inline constexpr int64_t kMaxWholeCheck = int64_t{1} << 20;

/// Checks the items of a file that are small enough, several in one read.
class WholeItemsCheck final : public BlockCheck {
 public:
  /// `items` are those of the file, by offset, none empty, none larger than
  /// kMaxWholeCheck, all within the file. `context` has no use for a target:
  /// the items have no reads.
  WholeItemsCheck(OpenFile& file, std::vector<const StoredItem*> items,
                  const DecodeContext& context, DamageLog& log)
      : file_(file), items_(std::move(items)), context_(context), log_(log) {}

  File& file() override { return *file_.file; }
  std::vector<CheckedBlock> Blocks(int64_t max_nbytes) override;
  void Check(const CheckedBlock& block,
             std::span<const std::byte> bytes) override;
  void ReadFailed(const CheckedBlock& block, const Status& error) override;
  void Finish() override {}

 private:
  /// Items that are read together.
  struct Window {
    size_t first = 0;
    size_t last = 0;  ///< the first one that is not in it
  };

  std::span<const StoredItem* const> ItemsOf(const CheckedBlock& block) const;

  OpenFile& file_;
  const std::vector<const StoredItem*> items_;
  const DecodeContext& context_;
  DamageLog& log_;
  std::vector<Window> windows_;
};

/// Checks one item of any size, piece by piece.
class LargeItemCheck final : public BlockCheck {
 public:
  LargeItemCheck(OpenFile& file, const StoredItem& item, DamageLog& log)
      : file_(file), item_(item), log_(log) {}

  /// Reads and checks all but the large records. Before Blocks().
  void Prepare();

  File& file() override { return *file_.file; }
  std::vector<CheckedBlock> Blocks(int64_t max_nbytes) override;
  void Check(const CheckedBlock& block,
             std::span<const std::byte> bytes) override;
  void ReadFailed(const CheckedBlock& block, const Status& error) override;
  void Finish() override;

 private:
  struct Piece {
    size_t record = 0;
    int64_t nbytes = 0;
    uint32_t crc32 = 0;
  };

  Status ReadRecords();
  Status CheckTensor(ItemSource& source) const;

  OpenFile& file_;
  const StoredItem& item_;
  DamageLog& log_;
  std::vector<ItemRecord> records_;  // those that are too large for Prepare()
  std::vector<Piece> pieces_;        // by record and offset
  std::atomic<bool> read_failed_{false};
};

}  // namespace dcp

#endif  // DCP_STORAGE_ITEM_CHECK_H_
