#include "storage/item_check.h"

#include <algorithm>
#include <utility>

#include "base/checksum.h"
#include "storage/file_item_source.h"

namespace dcp {
namespace {

// Reading over fewer bytes than this costs less than another read.
constexpr int64_t kMaxGap = int64_t{64} << 10;
// Records up to this size are read with the zip directory around them.
constexpr int64_t kSmallRecord = int64_t{64} << 10;
// An object of half a million tensors.
constexpr int64_t kMaxDirectory = int64_t{64} << 20;

/// Damage, as opposed to what dcp cannot load although its bytes are right.
bool IsDamage(const Status& status) {
  return !status.ok() && status.code() != absl::StatusCode::kUnimplemented;
}

}  // namespace

std::vector<CheckedBlock> WholeItemsCheck::Blocks(int64_t max_nbytes) {
  std::vector<CheckedBlock> blocks;
  for (size_t i = 0; i < items_.size(); ++i) {
    const int64_t begin = items_[i]->info.offset;
    const int64_t end = begin + items_[i]->info.length;
    if (!blocks.empty()) {
      CheckedBlock& last = blocks.back();
      const int64_t last_end = last.byte_offset + last.nbytes;
      const int64_t joined = std::max(end, last_end) - last.byte_offset;
      if (begin <= last_end + kMaxGap && joined <= max_nbytes) {
        last.nbytes = joined;
        windows_.back().last = i + 1;
        continue;
      }
    }
    blocks.push_back({.number = static_cast<uint32_t>(blocks.size()),
                      .byte_offset = begin,
                      .nbytes = end - begin});
    windows_.push_back({.first = i, .last = i + 1});
  }
  return blocks;
}

std::span<const StoredItem* const> WholeItemsCheck::ItemsOf(
    const CheckedBlock& block) const {
  const Window& window = windows_[block.number];
  return std::span(items_).subspan(window.first, window.last - window.first);
}

void WholeItemsCheck::Check(const CheckedBlock& block,
                            std::span<const std::byte> bytes) {
  for (const StoredItem* item : ItemsOf(block)) {
    const auto begin = item->info.offset - block.byte_offset;
    const Status status =
        DecodeItem(*item,
                   bytes.subspan(static_cast<size_t>(begin),
                                 static_cast<size_t>(item->info.length)),
                   context_);
    if (IsDamage(status)) log_.AddItem(status, *item);
  }
}

void WholeItemsCheck::ReadFailed(const CheckedBlock& block,
                                 const Status& error) {
  for (const StoredItem* item : ItemsOf(block)) log_.AddItem(error, *item);
}

void LargeItemCheck::Prepare() {
  const Status status = ReadRecords();
  if (!status.ok()) {
    records_.clear();
    log_.AddItem(status, item_);
  }
}

Status LargeItemCheck::ReadRecords() {
  FileItemSource source(*file_.file, item_.info.offset);
  ItemReader reader(source, item_.info.length);
  DCP_ASSIGN_OR_RETURN(std::vector<ItemRecord> records,
                       ListItemRecords(reader, kMaxDirectory));
  for (ItemRecord& record : records) {
    if (record.crc32 == 0) continue;
    if (record.nbytes > kSmallRecord) {
      records_.push_back(std::move(record));
      continue;
    }
    DCP_ASSIGN_OR_RETURN(const std::string_view bytes,
                         reader.Read(record.offset, record.nbytes));
    if (Crc32(0, std::as_bytes(std::span(bytes))) != record.crc32) {
      return DataLoss("record " + record.name + " does not match its CRC-32");
    }
  }
  return item_.type == LoadItemType::kTensor ? CheckTensor(source)
                                             : absl::OkStatus();
}

Status LargeItemCheck::CheckTensor(ItemSource& source) const {
  DCP_ASSIGN_OR_RETURN(const TensorItemInfo parsed,
                       ParseTensorItem(source, item_.info.length));
  if (parsed.needs_torch) return absl::OkStatus();
  DCP_RETURN_IF_ERROR(CheckStoredDType(item_, parsed));
  const Status status = PlaceOfParsedItem(item_, parsed).status();
  return IsDamage(status) ? status : absl::OkStatus();
}

std::vector<CheckedBlock> LargeItemCheck::Blocks(int64_t max_nbytes) {
  std::vector<CheckedBlock> blocks;
  for (size_t i = 0; i < records_.size(); ++i) {
    const ItemRecord& record = records_[i];
    for (int64_t at = 0; at < record.nbytes; at += max_nbytes) {
      const int64_t nbytes = std::min(max_nbytes, record.nbytes - at);
      blocks.push_back({.number = static_cast<uint32_t>(pieces_.size()),
                        .byte_offset = item_.info.offset + record.offset + at,
                        .nbytes = nbytes});
      pieces_.push_back({.record = i, .nbytes = nbytes});
    }
  }
  return blocks;
}

void LargeItemCheck::Check(const CheckedBlock& block,
                           std::span<const std::byte> bytes) {
  pieces_[block.number].crc32 = Crc32(0, bytes);
}

void LargeItemCheck::ReadFailed(const CheckedBlock& block,
                                const Status& error) {
  read_failed_ = true;
  log_.Add(error, {.fqn = item_.index.fqn,
                   .path = item_.path(),
                   .byte_offset = block.byte_offset,
                   .nbytes = block.nbytes});
}

void LargeItemCheck::Finish() {
  if (read_failed_) return;
  std::vector<uint32_t> crcs(records_.size(), 0);
  for (const Piece& piece : pieces_) {
    uint32_t& crc = crcs[piece.record];
    crc = Crc32Combine(crc, piece.crc32, piece.nbytes);
  }
  for (size_t i = 0; i < records_.size(); ++i) {
    const ItemRecord& record = records_[i];
    if (crcs[i] == record.crc32) continue;
    log_.Add(
        {.fqn = item_.index.fqn,
         .path = item_.path(),
         .byte_offset = item_.info.offset + record.offset,
         .nbytes = record.nbytes,
         .message = "record " + record.name + " does not match its CRC-32"});
  }
}

}  // namespace dcp
