#include <utility>

#include "base/checksum.h"
#include "base/wire.h"
#include "format/indexed_metadata.h"
#include "format/indexed_rest.h"

namespace dcp {
namespace {

/// The item of an entry's chunk, or of an object.
IndexedItem ItemOf(const PlaceTable& places, const PlacedItem& placed,
                   const Box& chunk) {
  IndexedItem item{.chunk = chunk, .index = placed.index()};
  if (placed.file == 0) return item;
  StorageInfo& place = item.place.emplace(places.files()[placed.file - 1]);
  place.offset = placed.offset;
  place.length = placed.length;
  return item;
}

}  // namespace

IndexedMetadataWriter::IndexedMetadataWriter(ByteSink sink)
    : sink_(std::move(sink)) {
  pending_.reserve(kItemsPerBlock);
}

Status IndexedMetadataWriter::Put(std::string_view bytes) {
  nbytes_ += bytes.size();
  return sink_(bytes);
}

Status IndexedMetadataWriter::BeginTensor(std::string_view fqn,
                                          const TensorProperties& properties,
                                          const Dims& size) {
  WireWriter header;
  header.PutU8(1);
  header.PutU8(static_cast<uint8_t>(properties.dtype));
  header.PutU8(static_cast<uint8_t>(properties.layout));
  header.PutU8(static_cast<uint8_t>(properties.memory_format));
  header.PutU8(static_cast<uint8_t>((properties.requires_grad ? 1 : 0) |
                                    (properties.pin_memory ? 2 : 0)));
  header.PutDims(size);
  return Begin(fqn, std::move(header).Take());
}

Status IndexedMetadataWriter::BeginObject(std::string_view fqn) {
  return Begin(fqn, std::string(1, '\0'));
}

Status IndexedMetadataWriter::Begin(std::string_view fqn, std::string header) {
  DCP_RETURN_IF_ERROR(EndEntry());
  if (nbytes_ == 0) DCP_RETURN_IF_ERROR(Put(IndexedHeader()));
  entries_.push_back(
      {.record_begin = records_.size(), .first_block = blocks_.size()});
  WireWriter name;
  name.PutString(fqn);
  records_ += name.data();
  open_header_ = std::move(header);
  return absl::OkStatus();
}

Status IndexedMetadataWriter::EndEntry() {
  if (open_header_.empty()) return absl::OkStatus();
  DCP_RETURN_IF_ERROR(FlushBlock());
  WireWriter count;
  count.PutVarint(std::exchange(open_count_, 0));
  records_ += std::exchange(open_header_, {});
  records_ += count.data();
  return absl::OkStatus();
}

Status IndexedMetadataWriter::Add(IndexedItem item) {
  ++open_count_;
  pending_.push_back(std::move(item));
  return pending_.size() < kItemsPerBlock ? absl::OkStatus() : FlushBlock();
}

Status IndexedMetadataWriter::FlushBlock() {
  if (pending_.empty()) return absl::OkStatus();
  const std::string block = SerializeItems(pending_, &files_);
  pending_.clear();
  blocks_.push_back({.begin = nbytes_,
                     .nbytes = static_cast<uint32_t>(block.size()),
                     .crc32 = Crc32(0, block)});
  return Put(block);
}

std::string IndexedMetadataWriter::Tables() const {
  WireWriter out;
  for (const Entry& entry : entries_) {
    out.PutU64(entry.record_begin);
    out.PutU64(entry.first_block);
  }
  for (const Block& block : blocks_) {
    out.PutU64(block.begin);
    out.PutU32(block.nbytes);
    out.PutU32(block.crc32);
  }
  return std::move(out).Take();
}

Status IndexedMetadataWriter::Finish(const Metadata& rest,
                                     std::span<const PlaceTable::Stray> strays,
                                     const MetadataBinding& metadata) {
  DCP_RETURN_IF_ERROR(EndEntry());
  if (nbytes_ == 0) DCP_RETURN_IF_ERROR(Put(IndexedHeader()));
  const std::string files = files_.Serialize();
  const std::string rest_bytes = SerializeRest(rest, strays);
  std::string directory = Tables();
  directory += records_;
  directory += files;
  const IndexedTrailer trailer{.directory_begin = nbytes_,
                               .entry_count = entries_.size(),
                               .block_count = blocks_.size(),
                               .records_nbytes = records_.size(),
                               .files_nbytes = files.size(),
                               .directory_crc32 = Crc32(0, directory),
                               .rest_nbytes = rest_bytes.size(),
                               .rest_crc32 = Crc32(0, rest_bytes),
                               .metadata = metadata};
  DCP_RETURN_IF_ERROR(Put(directory));
  DCP_RETURN_IF_ERROR(Put(rest_bytes));
  return Put(SerializeTrailer(trailer));
}

Status WriteIndexedMetadata(const Metadata& metadata, const PlaceTable& places,
                            const MetadataBinding& binding, ByteSink sink) {
  IndexedMetadataWriter writer(std::move(sink));
  const auto& entries = metadata.entries();
  for (size_t position = 0; position < entries.size(); ++position) {
    const auto& [fqn, entry] = entries[position];
    const std::span<const PlacedItem> slots = places.SlotsOf(position);
    const auto* tensor = std::get_if<TensorStorageMetadata>(&entry);
    if (tensor == nullptr) {
      DCP_RETURN_IF_ERROR(writer.BeginObject(fqn));
      DCP_RETURN_IF_ERROR(writer.Add(ItemOf(places, slots[0], Box())));
      continue;
    }
    DCP_RETURN_IF_ERROR(
        writer.BeginTensor(fqn, tensor->properties, tensor->size));
    for (size_t i = 0; i < slots.size(); ++i) {
      DCP_RETURN_IF_ERROR(
          writer.Add(ItemOf(places, slots[i], tensor->chunks[i])));
    }
  }
  return writer.Finish(metadata, places.strays(), binding);
}

}  // namespace dcp
