#include "archive_format.h"

#include <algorithm>
#include <cstring>

namespace examples {
namespace {

std::span<const std::byte> BytesOf(std::string_view text) {
  return std::as_bytes(std::span(text.data(), text.size()));
}

uint64_t HashOf(const Trailer& trailer) {
  return HashBytes(std::as_bytes(std::span(&trailer, 1))
                       .first(offsetof(Trailer, trailer_hash)));
}

}  // namespace

uint64_t HashBytes(std::span<const std::byte> bytes) {
  constexpr uint64_t kOdd = 0x9e3779b97f4a7c15;  // 2^64 / golden ratio
  uint64_t hash = kOdd ^ bytes.size();
  while (!bytes.empty()) {
    uint64_t word = 0;
    const size_t n = std::min(bytes.size(), sizeof word);
    std::memcpy(&word, bytes.data(), n);
    hash = std::rotl((hash ^ word) * kOdd, 29);
    bytes = bytes.subspan(n);
  }
  return hash;
}

std::string EncodeRecords(std::span<const ItemRecord> records) {
  std::string bytes(records.size_bytes(), '\0');
  if (!bytes.empty()) std::memcpy(bytes.data(), records.data(), bytes.size());
  return bytes;
}

dcp::StatusOr<std::vector<ItemRecord>> DecodeRecords(std::string_view bytes) {
  if (bytes.size() % sizeof(ItemRecord) != 0) {
    return dcp::DataLoss("the archive's item records are cut");
  }
  std::vector<ItemRecord> records(bytes.size() / sizeof(ItemRecord));
  if (!bytes.empty()) std::memcpy(records.data(), bytes.data(), bytes.size());
  return records;
}

std::string EncodeIndex(uint64_t index_offset,
                        std::span<const ItemRecord> records,
                        std::string_view metadata) {
  std::string bytes = EncodeRecords(records);
  bytes += metadata;
  Trailer trailer{.index_offset = index_offset,
                  .item_count = records.size(),
                  .metadata_nbytes = metadata.size(),
                  .index_hash = HashBytes(BytesOf(bytes))};
  trailer.trailer_hash = HashOf(trailer);
  bytes.append(reinterpret_cast<const char*>(&trailer), sizeof trailer);
  return bytes;
}

dcp::StatusOr<Trailer> ParseTrailer(std::string_view last_bytes,
                                    uint64_t file_nbytes) {
  Trailer trailer;
  if (last_bytes.size() != sizeof trailer ||
      last_bytes.substr(offsetof(Trailer, magic)) !=
          std::string_view(trailer.magic, sizeof trailer.magic)) {
    return dcp::DataLoss("this is not an archive, or its end is missing");
  }
  std::memcpy(&trailer, last_bytes.data(), sizeof trailer);
  // The hash vouches for the numbers, so that their sum cannot overflow.
  if (trailer.trailer_hash != HashOf(trailer) ||
      trailer.index_offset + trailer.item_count * sizeof(ItemRecord) +
              trailer.metadata_nbytes + sizeof trailer !=
          file_nbytes) {
    return dcp::DataLoss("the archive's trailer is damaged");
  }
  return trailer;
}

dcp::StatusOr<ArchiveIndex> ParseIndex(const Trailer& trailer,
                                       std::string_view index) {
  if (HashBytes(BytesOf(index)) != trailer.index_hash) {
    return dcp::DataLoss("the archive's index differs from its checksum");
  }
  const size_t records_nbytes = trailer.item_count * sizeof(ItemRecord);
  ArchiveIndex parsed{.metadata = std::string(index.substr(records_nbytes))};
  DCP_ASSIGN_OR_RETURN(parsed.records,
                       DecodeRecords(index.substr(0, records_nbytes)));
  return parsed;
}

const ItemRecord* ArchiveIndex::Find(uint64_t offset) const {
  const auto found =
      std::lower_bound(records.begin(), records.end(), offset,
                       [](const ItemRecord& record, uint64_t wanted) {
                         return record.offset < wanted;
                       });
  if (found == records.end() || found->offset != offset) return nullptr;
  return &*found;
}

}  // namespace examples
