#include <algorithm>
#include <cstring>
#include <utility>

#include "base/checksum.h"
#include "base/printable.h"
#include "base/wire.h"
#include "format/indexed_metadata.h"
#include "format/indexed_rest.h"
#include "format/possible_values.h"

namespace dcp {
namespace {

/// The bytes [begin, begin + nbytes), whose CRC-32 the caller knows.
StatusOr<std::string> Read(const ReadRange& read, uint64_t begin,
                           uint64_t nbytes) {
  std::string bytes(static_cast<size_t>(nbytes), '\0');
  if (nbytes > 0) {
    DCP_RETURN_IF_ERROR(
        read(static_cast<int64_t>(begin),
             std::as_writable_bytes(std::span(bytes.data(), bytes.size()))));
  }
  return bytes;
}

bool HasCrc(std::string_view data, uint32_t crc) {
  return Crc32(0, data) == crc;
}

/// The attributes of a tensor in a record; fails `in` if there is none.
void GetTensor(WireReader* in, IndexedMetadata::Entry* entry) {
  const std::optional<DType> dtype = DTypeFromCode(in->U8());
  const uint8_t layout = in->U8();
  const uint8_t memory_format = in->U8();
  const uint8_t flags = in->U8();
  entry->size = in->GetDims();
  if (!dtype || layout > static_cast<uint8_t>(Layout::kJagged) ||
      memory_format > static_cast<uint8_t>(MemoryFormat::kPreserve) ||
      flags > 3 || !IsPossibleSize(entry->size, *dtype)) {
    return in->Fail();
  }
  entry->properties = {
      .dtype = *dtype,
      .layout = static_cast<Layout>(layout),
      .requires_grad = (flags & 1) != 0,
      .memory_format = static_cast<MemoryFormat>(memory_format),
      .pin_memory = (flags & 2) != 0};
}

uint64_t BlocksOf(uint64_t item_count) {
  return item_count / kItemsPerBlock + (item_count % kItemsPerBlock != 0);
}

}  // namespace

template <typename T>
T IndexedMetadata::Number(uint64_t byte_offset) const {
  T number = 0;
  std::memcpy(&number, directory_.data() + byte_offset, sizeof(number));
  return number;
}

StatusOr<IndexedMetadata> IndexedMetadata::Open(
    ReadRange read, int64_t nbytes, const MetadataBinding& metadata) {
  const auto end = static_cast<uint64_t>(nbytes);
  const uint64_t tail_nbytes = std::min<uint64_t>(end, kMaxTrailerNbytes);
  IndexedMetadata index;
  index.read_ = std::move(read);
  DCP_ASSIGN_OR_RETURN(
      const std::string head,
      Read(index.read_, 0, std::min<uint64_t>(end, kIndexedHeaderNbytes)));
  DCP_ASSIGN_OR_RETURN(const std::string tail,
                       Read(index.read_, end - tail_nbytes, tail_nbytes));
  DCP_ASSIGN_OR_RETURN(index.trailer_, ParseTrailer(head, tail, end));
  if (index.trailer_.metadata != metadata) {
    return DataLoss("indexed metadata are of another .metadata");
  }
  DCP_ASSIGN_OR_RETURN(index.directory_,
                       Read(index.read_, index.trailer_.directory_begin,
                            index.trailer_.directory_nbytes()));
  DCP_RETURN_IF_ERROR(index.CheckDirectory());
  DCP_ASSIGN_OR_RETURN(index.files_,
                       ParseFiles(std::string_view(index.directory_)
                                      .substr(index.trailer_.files_begin()),
                                  index.Budget()));
  DCP_RETURN_IF_ERROR(index.CheckIsModest());
  return index;
}

/// What no read checks again: numbers that lead out of the directory, and
/// blocks that do not follow each other.
Status IndexedMetadata::CheckDirectory() const {
  bool is_sane = HasCrc(directory_, trailer_.directory_crc32);
  for (uint64_t i = 0; is_sane && i < trailer_.entry_count; ++i) {
    is_sane = Number<uint64_t>(i * IndexedTrailer::kEntryNbytes) <
              trailer_.records_nbytes;
  }
  uint64_t block_begin = kIndexedHeaderNbytes;
  for (uint64_t i = 0; is_sane && i < trailer_.block_count; ++i) {
    const Block block = BlockAt(i);
    is_sane = block.begin == block_begin;
    block_begin += block.nbytes;
  }
  if (is_sane && block_begin == trailer_.directory_begin &&
      EntriesFollowEachOther()) {
    return absl::OkStatus();
  }
  return DataLoss("the directory of indexed metadata is damaged");
}

/// Whether each record and each block is of one entry: else a small file could
/// have any number of long names, or of items.
bool IndexedMetadata::EntriesFollowEachOther() const {
  uint64_t next_record = 0;
  uint64_t next_block = 0;
  for (size_t position = 0; position < size(); ++position) {
    size_t record_nbytes = 0;
    const StatusOr<Entry> entry = ParseRecord(position, &record_nbytes);
    if (!entry.ok() || entry->first_block != next_block ||
        Number<uint64_t>(position * IndexedTrailer::kEntryNbytes) !=
            next_record) {
      return false;
    }
    next_record += record_nbytes;
    next_block += BlocksOf(entry->item_count);
  }
  return next_record == trailer_.records_nbytes &&
         next_block == trailer_.block_count;
}

std::string_view IndexedMetadata::RecordAt(size_t position) const {
  const auto begin = Number<uint64_t>(position * IndexedTrailer::kEntryNbytes);
  return std::string_view(directory_)
      .substr(trailer_.records_begin(), trailer_.records_nbytes)
      .substr(begin);
}

StatusOr<IndexedMetadata::Entry> IndexedMetadata::At(size_t position) const {
  size_t record_nbytes = 0;
  return ParseRecord(position, &record_nbytes);
}

StatusOr<IndexedMetadata::Entry> IndexedMetadata::ParseRecord(
    size_t position, size_t* record_nbytes) const {
  const std::string_view record = RecordAt(position);
  WireReader in(record, "a record");
  Entry entry{.fqn = in.String(), .is_tensor = in.Flag()};
  if (entry.is_tensor) GetTensor(&in, &entry);
  entry.item_count = in.Varint();
  entry.first_block = Number<uint64_t>(position * IndexedTrailer::kEntryNbytes +
                                       sizeof(uint64_t));
  if (!in.ok() || entry.first_block > trailer_.block_count ||
      BlocksOf(entry.item_count) > trailer_.block_count - entry.first_block ||
      (!entry.is_tensor && entry.item_count > 1)) {
    return DataLoss("indexed metadata have an impossible entry \"" +
                    Printable(entry.fqn) + "\"");
  }
  *record_nbytes = record.size() - in.remaining();
  return entry;
}

IndexedMetadata::Block IndexedMetadata::BlockAt(uint64_t block) const {
  const uint64_t at =
      trailer_.blocks_begin() + block * IndexedTrailer::kBlockNbytes;
  return {.begin = Number<uint64_t>(at),
          .nbytes = Number<uint32_t>(at + sizeof(uint64_t)),
          .crc32 = Number<uint32_t>(at + sizeof(uint64_t) + sizeof(uint32_t))};
}

StatusOr<std::vector<IndexedItem>> IndexedMetadata::Items(
    const Entry& entry, uint64_t first, uint64_t count) const {
  std::vector<IndexedItem> items;
  if (count == 0) return items;
  const uint64_t first_block = first / kItemsPerBlock;
  const uint64_t end_block = BlocksOf(first + count);
  const Block last = BlockAt(entry.first_block + end_block - 1);
  const uint64_t begin = BlockAt(entry.first_block + first_block).begin;
  DCP_ASSIGN_OR_RETURN(const std::string bytes,
                       Read(read_, begin, last.begin + last.nbytes - begin));
  items.reserve((end_block - first_block) * kItemsPerBlock);
  for (uint64_t i = first_block; i < end_block; ++i) {
    const Block block = BlockAt(entry.first_block + i);
    const uint64_t first_item = i * kItemsPerBlock;
    const auto data =
        std::string_view(bytes).substr(block.begin - begin, block.nbytes);
    const size_t item_count =
        std::min<uint64_t>(kItemsPerBlock, entry.item_count - first_item);
    const Status status =
        HasCrc(data, block.crc32)
            ? ParseItems(data, entry.size, item_count, files_, &items)
            : DataLoss("a block does not match its CRC-32");
    if (!status.ok()) {
      return Annotate(status, "indexed metadata of \"" + Printable(entry.fqn) +
                                  "\", items from " +
                                  std::to_string(first_item));
    }
  }
  items.resize(first - first_block * kItemsPerBlock + count);
  items.erase(items.begin(), items.end() - static_cast<std::ptrdiff_t>(count));
  return items;
}

Status IndexedMetadata::ReadRest(Metadata* metadata) const {
  DCP_ASSIGN_OR_RETURN(
      const std::string rest,
      Read(read_, trailer_.directory_begin + trailer_.directory_nbytes(),
           trailer_.rest_nbytes));
  if (!HasCrc(rest, trailer_.rest_crc32)) {
    return DataLoss("the rest of indexed metadata is damaged");
  }
  return ParseRest(rest, Budget(), metadata);
}

}  // namespace dcp
