// FileIdentity: whether a file still has the content that it had.

#ifndef DCP_CHECKPOINT_FILE_IDENTITY_H_
#define DCP_CHECKPOINT_FILE_IDENTITY_H_

#include <cstdint>

#include "dcp/file_system.h"
#include "dcp/status.h"

namespace dcp {

/// Differs from that of another checkpoint's file of the same name, even if
/// that has the same size. The number of the inode is no part of it: some
/// network file systems make up a new one for each open.
struct FileIdentity {
  int64_t nbytes = 0;
  /// When it was written last, since 1970; 0 for files without descriptors.
  int64_t modified_ns = 0;
  uint32_t ends_crc = 0;  ///< CRC-32 of its first and its last 64 KiB

  bool operator==(const FileIdentity&) const = default;
};

/// Reads the ends of `file`.
/// \error of File::Size and File::ReadFully
StatusOr<FileIdentity> IdentityOf(File& file);

/// Whether `file`, whose identity was `before`, has only become longer since,
/// as a log does: as far as their ends tell, its first bytes are the same.
/// \error as of IdentityOf
StatusOr<bool> HasOnlyGrown(File& file, const FileIdentity& before);

}  // namespace dcp

#endif  // DCP_CHECKPOINT_FILE_IDENTITY_H_
