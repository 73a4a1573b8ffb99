#include "checkpoint/file_identity.h"

#include <sys/stat.h>

#include <algorithm>
#include <cerrno>
#include <cstddef>
#include <span>
#include <vector>

#include "base/checksum.h"

namespace dcp {
namespace {

constexpr int64_t kEndNbytes = int64_t{64} << 10;
constexpr int64_t kNanoseconds = 1'000'000'000;

}  // namespace

StatusOr<FileIdentity> IdentityOf(File& file) {
  FileIdentity identity;
  DCP_ASSIGN_OR_RETURN(identity.nbytes, file.Size());
  if (file.fd() >= 0) {
    struct stat info {};
    if (::fstat(file.fd(), &info) != 0) {
      return ErrnoToStatus(errno, {.op = "fstat", .path = file.path()});
    }
    identity.modified_ns =
        info.st_mtim.tv_sec * kNanoseconds + info.st_mtim.tv_nsec;
  }
  const int64_t nbytes = std::min(kEndNbytes, identity.nbytes);
  std::vector<std::byte> buffer(static_cast<size_t>(nbytes));
  for (const int64_t at : {int64_t{0}, identity.nbytes - nbytes}) {
    const IoSlice slice{.data = buffer.data(), .nbytes = buffer.size()};
    DCP_RETURN_IF_ERROR(file.ReadFully(at, {&slice, 1}));
    identity.ends_crc = Crc32(identity.ends_crc, std::span(buffer));
  }
  return identity;
}

}  // namespace dcp
