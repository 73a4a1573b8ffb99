// Direct I/O: what a file asks for, and which requests satisfy it.

#ifndef DCP_IO_DIRECT_IO_H_
#define DCP_IO_DIRECT_IO_H_

#include <span>
#include <string>
#include <variant>

#include "base/unique_fd.h"
#include "dcp/file_system.h"

namespace dcp {

/// Whether every address, length and the offset are multiples of what direct
/// I/O asks for.
bool FitsDirectIo(const DirectIoAlignment& alignment, int64_t byte_offset,
                  std::span<const IoSlice> slices);

/// A second, direct descriptor of an open file.
struct DirectDescriptor {
  UniqueFd fd;
  DirectIoAlignment alignment;
};

/// Why a file has no direct I/O, e.g. "tmpfs keeps files in memory".
struct DirectIoRefusal {
  std::string reason;
};

/// Opens `buffered_fd`'s file again with O_DIRECT, for reading or for writing
/// as `mode` says, and finds out what alignment it asks for. With kCreateNew it
/// must be empty still.
/// \error any  the block that a probe wrote could not be cut off again
StatusOr<std::variant<DirectDescriptor, DirectIoRefusal>> OpenDirect(
    int buffered_fd, OpenMode mode);

}  // namespace dcp

#endif  // DCP_IO_DIRECT_IO_H_
