// The sidecar: what torch's files do not say about a checkpoint of dcp.
//
// A file `.dcpcpp-<id>` beside `.metadata`, or beside safetensors files; others
// ignore it. It binds the metadata and the data files of one save to each
// other, and holds the checksums of all their bytes. FORMAT.md describes the
// bytes.

#ifndef DCP_FORMAT_SIDECAR_H_
#define DCP_FORMAT_SIDECAR_H_

#include <cstdint>
#include <optional>
#include <string>
#include <string_view>
#include <vector>

#include "dcp/status.h"

namespace dcp {

/// Bytes that one checksum of a data file covers; the last block may be short.
inline constexpr int64_t kSidecarBlockNbytes = int64_t{1} << 20;

/// An item of a data file. Spares a reader the item's zip directory.
struct SidecarItem {
  int64_t offset = 0;  ///< bytes from the start of the file
  int64_t length = 0;  ///< bytes, as stored
  /// A contiguous tensor's data, in bytes from the start of the item. Both are
  /// 0 for an object and for a transformed item.
  int64_t data_offset = 0;
  int64_t data_nbytes = 0;
  bool operator==(const SidecarItem&) const = default;
};

struct SidecarFile {
  /// As FormatDataFileName or FormatSafetensorsFileName gives it.
  std::string name;
  int64_t nbytes = 0;
  /// CRC-32 of every block of kSidecarBlockNbytes.
  std::vector<uint32_t> block_crcs;
  /// By offset; they do not overlap.
  std::vector<SidecarItem> items;
  bool operator==(const SidecarFile&) const = default;
};

/// Indexed metadata of the same save (indexed_metadata.h), a file of its own.
struct SidecarIndex {
  int64_t nbytes = 0;
  uint32_t crc32 = 0;  ///< of all its bytes
  bool operator==(const SidecarIndex&) const = default;
};

struct Sidecar {
  std::string save_id;  ///< IsDcpcppSaveId; also in the metadata
  std::optional<int64_t> step;
  /// Of the file `.metadata`; of safetensors files, of their index, or of what
  /// comes before the data of a single file without one.
  int64_t metadata_nbytes = 0;
  uint32_t metadata_crc32 = 0;
  std::vector<SidecarFile> files;
  std::optional<SidecarIndex> index;
  bool operator==(const Sidecar&) const = default;
};

/// Number of checksums that a file of `nbytes` has.
constexpr int64_t SidecarBlockCount(int64_t nbytes) {
  return nbytes / kSidecarBlockNbytes +
         (nbytes % kSidecarBlockNbytes == 0 ? 0 : 1);
}

/// The file's bytes. `sidecar` must be one that ParseSidecar accepts.
std::string SerializeSidecar(const Sidecar& sidecar);

/// \error kDataLoss  damaged, or not consistent
/// \error kFailedPrecondition  written by a newer dcp, which this one cannot
///     read; the message says to upgrade
StatusOr<Sidecar> ParseSidecar(std::string_view data);

}  // namespace dcp

#endif  // DCP_FORMAT_SIDECAR_H_
