// Opening a file by name without being led astray.

#ifndef DCP_IO_POSIX_OPEN_H_
#define DCP_IO_POSIX_OPEN_H_

#include <string>

#include "base/unique_fd.h"
#include "dcp/status.h"

namespace dcp {

/// Opens a regular file for reading. Never waits for a FIFO's other end.
/// \error kInvalidArgument  not a regular file
StatusOr<UniqueFd> OpenForReading(const std::string& path);

/// How OpenBeneath finds its way; kWalk is what kAuto falls back to where
/// openat2(2) is missing or forbidden.
enum class ResolveMethod : uint8_t { kAuto, kWalk };

/// As OpenForReading, and the file lies beneath `directory` after all links are
/// resolved. `path` must begin with `directory`.
/// \error kInvalidArgument  not a regular file, or not beneath `directory`
StatusOr<UniqueFd> OpenBeneath(const std::string& path,
                               const std::string& directory,
                               ResolveMethod method);

/// Creates a file for writing; mode 0666 less the umask.
/// \error kAlreadyExists  the name exists, be it as a dangling link
StatusOr<UniqueFd> CreateNew(const std::string& path);

/// Opens a regular file that is there for writing, and leaves its bytes alone.
/// \error kInvalidArgument  not a regular file, or a link
StatusOr<UniqueFd> OpenShared(const std::string& path);

}  // namespace dcp

#endif  // DCP_IO_POSIX_OPEN_H_
