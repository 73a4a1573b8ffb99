// The archive: a checkpoint in one file, byte by byte.
//
//   0                 "DCPAR001"
//   64, 128, ...      items, each at a multiple of 64 bytes: a tensor's chunk
//                     as it lies in memory, row by row; an object as
//                     torch.save made it
//   index_offset      item_count records of 32 bytes (ItemRecord)
//   behind them       metadata_nbytes bytes: the checkpoint's metadata in
//                     PyTorch's own form (dcp/metadata_codec.h). Its
//                     storage_data says which item lies where.
//   last 48 bytes     the trailer (Trailer), which ends in "DCPARend"
//
// Numbers are unsigned, 64 bits, little-endian. The index comes last, so a
// writer need not know it when it begins, and a file that was cut has none.

#ifndef EXAMPLES_ARCHIVE_FORMAT_H_
#define EXAMPLES_ARCHIVE_FORMAT_H_

#include <bit>
#include <cstddef>
#include <cstdint>
#include <span>
#include <string>
#include <string_view>
#include <vector>

#include "dcp/status.h"

namespace examples {

static_assert(std::endian::native == std::endian::little,
              "records are written as they lie in memory");

inline constexpr char kArchiveHead[] = "DCPAR001";
inline constexpr uint64_t kItemAlignment = 64;

enum class ItemEncoding : uint64_t {
  kElements = 0,   ///< the elements of a tensor, row by row
  kTorchSave = 1,  ///< an object, or a tensor that only torch can decode
};

struct ItemRecord {
  uint64_t offset = 0;
  uint64_t nbytes = 0;
  uint64_t hash = 0;  ///< HashBytes of the item
  ItemEncoding encoding = ItemEncoding::kElements;
};

struct Trailer {
  uint64_t index_offset = 0;
  uint64_t item_count = 0;
  uint64_t metadata_nbytes = 0;
  uint64_t index_hash = 0;    ///< of the records and the metadata
  uint64_t trailer_hash = 0;  ///< of the four numbers above
  char magic[8] = {'D', 'C', 'P', 'A', 'R', 'e', 'n', 'd'};
};
static_assert(sizeof(ItemRecord) == 32 && sizeof(Trailer) == 48);

/// A 64-bit checksum, 8 bytes a step. Every step can be undone, so a change
/// within one word always shows; others do but for one in 2^64.
uint64_t HashBytes(std::span<const std::byte> bytes);

/// Index and trailer as the bytes that follow the last item; `records` sorted.
std::string EncodeIndex(uint64_t index_offset,
                        std::span<const ItemRecord> records,
                        std::string_view metadata);

/// What EncodeIndex was given.
struct ArchiveIndex {
  std::vector<ItemRecord> records;  ///< by offset
  std::string metadata;
  const ItemRecord* Find(uint64_t offset) const;
};

/// The trailer of an archive of `file_nbytes`.
/// \error kDataLoss  this is no archive, or it was cut or damaged
dcp::StatusOr<Trailer> ParseTrailer(std::string_view last_bytes,
                                    uint64_t file_nbytes);
/// `index`: the bytes from `trailer.index_offset` up to the trailer.
/// \error kDataLoss  they are damaged
dcp::StatusOr<ArchiveIndex> ParseIndex(const Trailer& trailer,
                                       std::string_view index);

/// Records as bytes, and back: how ranks tell each other what they wrote.
std::string EncodeRecords(std::span<const ItemRecord> records);
/// \error kDataLoss  not a whole number of records
dcp::StatusOr<std::vector<ItemRecord>> DecodeRecords(std::string_view bytes);

}  // namespace examples

#endif  // EXAMPLES_ARCHIVE_FORMAT_H_
