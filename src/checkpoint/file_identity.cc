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

/// FileIdentity::ends_crc of the first `nbytes` of `file`.
StatusOr<uint32_t> EndsCrc(File& file, int64_t nbytes) {
  const int64_t end_nbytes = std::min(kEndNbytes, nbytes);
  std::vector<std::byte> buffer(static_cast<size_t>(end_nbytes));
  uint32_t crc = 0;
  for (const int64_t at : {int64_t{0}, nbytes - end_nbytes}) {
    const IoSlice slice{.data = buffer.data(), .nbytes = buffer.size()};
    DCP_RETURN_IF_ERROR(file.ReadFully(at, {&slice, 1}));
    crc = Crc32(crc, std::span(buffer));
  }
  return crc;
}

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
  DCP_ASSIGN_OR_RETURN(identity.ends_crc, EndsCrc(file, identity.nbytes));
  return identity;
}

StatusOr<bool> HasOnlyGrown(File& file, const FileIdentity& before) {
  DCP_ASSIGN_OR_RETURN(const int64_t nbytes, file.Size());
  if (nbytes <= before.nbytes) return false;
  DCP_ASSIGN_OR_RETURN(const uint32_t crc, EndsCrc(file, before.nbytes));
  return crc == before.ends_crc;
}

}  // namespace dcp
