// The first and the last bytes of indexed metadata: what they are, and where
// everything else lies.

#ifndef DCP_FORMAT_INDEXED_TRAILER_H_
#define DCP_FORMAT_INDEXED_TRAILER_H_

#include <cstdint>
#include <string>
#include <string_view>

#include "dcp/status.h"

namespace dcp {

/// The `.metadata` file that an index was made for. An index that names another
/// one is of no use.
struct MetadataBinding {
  int64_t nbytes = 0;
  uint32_t crc32 = 0;
  bool operator==(const MetadataBinding&) const = default;
};

/// Where the directory lies, and how long its parts are, in their order. The
/// rest follows it, and the trailer ends the file.
struct IndexedTrailer {
  uint64_t directory_begin = 0;  ///< bytes from the start of the file
  uint64_t entry_count = 0;      ///< of kEntryNbytes each
  uint64_t block_count = 0;      ///< of kBlockNbytes each
  uint64_t records_nbytes = 0;
  uint64_t files_nbytes = 0;
  uint32_t directory_crc32 = 0;
  uint64_t rest_nbytes = 0;
  uint32_t rest_crc32 = 0;
  MetadataBinding metadata;

  static constexpr uint64_t kEntryNbytes = 16;
  static constexpr uint64_t kBlockNbytes = 16;

  uint64_t blocks_begin() const { return entry_count * kEntryNbytes; }
  uint64_t records_begin() const {
    return blocks_begin() + block_count * kBlockNbytes;
  }
  uint64_t files_begin() const { return records_begin() + records_nbytes; }
  uint64_t directory_nbytes() const { return files_begin() + files_nbytes; }
};

/// What a file begins with.
inline constexpr size_t kIndexedHeaderNbytes = 16;
std::string IndexedHeader();

/// No trailer of any version is longer.
inline constexpr size_t kMaxTrailerNbytes = 4096;
std::string SerializeTrailer(const IndexedTrailer& trailer);

/// `head` is the first kIndexedHeaderNbytes of a file of `nbytes`, `tail` the
/// last kMaxTrailerNbytes, or all if there are fewer.
/// \error kDataLoss  damaged, or not consistent
/// \error kFailedPrecondition  written by a newer dcp, which this one cannot
///     read; the message says to upgrade
StatusOr<IndexedTrailer> ParseTrailer(std::string_view head,
                                      std::string_view tail, uint64_t nbytes);

}  // namespace dcp

#endif  // DCP_FORMAT_INDEXED_TRAILER_H_
