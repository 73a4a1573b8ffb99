// The frame of small files of ours: magic, format version, minimum reader
// version (2 x u32), content, and the CRC-32 of all before it (u32). Magic, the
// versions and the CRC-32 keep their places in all versions of a file.

#ifndef DCP_FORMAT_VERSIONED_FILE_H_
#define DCP_FORMAT_VERSIONED_FILE_H_

#include <cstdint>
#include <string>
#include <string_view>

#include "base/wire.h"
#include "dcp/status.h"

namespace dcp {

/// A kind of file.
struct VersionedFileKind {
  std::string_view magic;
  std::string_view name;  ///< in errors: "sidecar"
  /// What a reader of this library knows.
  uint32_t version = 1;
};

/// What is between the versions and the CRC-32.
struct VersionedContent {
  uint32_t version = 1;
  std::string_view bytes;  ///< of the file's data
};

/// Magic and versions; the content follows.
void PutVersions(const VersionedFileKind& kind, uint32_t version,
                 uint32_t min_reader_version, WireWriter* out);
/// Adds the CRC-32 and returns the file's data.
std::string FinishVersionedFile(WireWriter out);

/// A file of a later version is given all the same if it may be read: its
/// content begins with what is known, and the rest is to be ignored.
/// \error kDataLoss  not one that was written
/// \error kFailedPrecondition  only later versions of dcp can read it
StatusOr<VersionedContent> OpenVersionedFile(const VersionedFileKind& kind,
                                             std::string_view data);

}  // namespace dcp

#endif  // DCP_FORMAT_VERSIONED_FILE_H_
