// Reads of files whose checksums are known.

#ifndef DCP_STORAGE_CHECKED_READ_H_
#define DCP_STORAGE_CHECKED_READ_H_

#include <cstddef>
#include <cstdint>
#include <vector>

#include "dcp/file_system.h"
#include "dcp/status.h"
#include "format/sidecar.h"

namespace dcp {

/// The bytes [begin, begin + nbytes) of `file`. With a `record`, which has the
/// file's size, whole blocks are read, and each agrees with its CRC-32.
/// \error kDataLoss  it does not, or the file ends before
StatusOr<std::vector<std::byte>> ReadChecked(File& file,
                                             const SidecarFile* record,
                                             int64_t begin, int64_t nbytes);

}  // namespace dcp

#endif  // DCP_STORAGE_CHECKED_READ_H_
