// Direct I/O on Linux, in the order in which it is found out:
//
// 1. The file is opened a second time, through /proc/self/fd: whatever its name
//    refers to by now, both descriptors are of one file. EINVAL is how most
//    file systems say that they have no direct I/O (open(2), NOTES).
// 2. statx(2) STATX_DIOALIGN (Linux 6.1) tells the alignment, or with zeros
//    that this file has none. Where the file system does not fill it in, 4096
//    is assumed and tried with one block: NFS, FUSE and overlays may accept the
//    open and refuse the transfer.
//    A file that others write as well is never written to try it: it is opened
//    a third time and read.
// 3. Memory file systems are left out: since Linux 6.6 tmpfs opens with
//    O_DIRECT and then goes through the page cache, which it is.
// 4. Offsets are aligned to whole pages even where 512 would do. Buffered and
//    direct writes of neighbours then never share a page, so write-back of one
//    cannot undo the other (open(2): "avoid mixing").

#include "io/direct_io.h"

#include <fcntl.h>
#include <linux/magic.h>
#include <sys/stat.h>
#include <sys/syscall.h>
#include <sys/vfs.h>
#include <unistd.h>

#include <algorithm>
#include <array>
#include <cerrno>
#include <cstdlib>
#include <cstring>
#include <memory>
#include <string>
#include <utility>

#include "dcp/io_engine.h"

namespace dcp {
namespace {

constexpr int64_t kAssumedAlignment = 4096;

// linux/stat.h of Linux 6.1 on; older headers lack the constant and the fields,
// so the result is taken as bytes, at the offsets of the stable kernel ABI.
constexpr unsigned kStatxDioAlign = 0x2000;
constexpr size_t kStatxNbytes = 256;
constexpr size_t kDioMemAlignOffset = 152;
constexpr size_t kDioOffsetAlignOffset = 156;

int64_t U32At(const std::array<std::byte, kStatxNbytes>& bytes, size_t offset) {
  uint32_t value = 0;
  std::memcpy(&value, bytes.data() + offset, sizeof value);
  return value;
}

enum class Verdict : uint8_t { kYes, kNo, kCannotTell };

/// Asks the file system; fills `*alignment` when it says yes.
Verdict AskFileSystem(int fd, DirectIoAlignment* alignment) {
  std::array<std::byte, kStatxNbytes> result{};
  if (::syscall(SYS_statx, fd, "", AT_EMPTY_PATH, kStatxDioAlign,
                result.data()) != 0) {
    return Verdict::kCannotTell;
  }
  if ((U32At(result, 0) & kStatxDioAlign) == 0) return Verdict::kCannotTell;
  alignment->memory = U32At(result, kDioMemAlignOffset);
  alignment->offset = U32At(result, kDioOffsetAlignOffset);
  return alignment->memory > 0 && alignment->offset > 0 ? Verdict::kYes
                                                        : Verdict::kNo;
}

bool LivesInMemory(int fd) {
  struct statfs info = {};
  if (::fstatfs(fd, &info) != 0) return false;
  return info.f_type == TMPFS_MAGIC || info.f_type == RAMFS_MAGIC ||
         info.f_type == HUGETLBFS_MAGIC;
}

DirectIoRefusal Refused(const char* call, int error) {
  return {std::string(call) + ": " + std::strerror(error)};
}

struct FreeDeleter {
  void operator()(void* memory) const { std::free(memory); }
};

using OneBlock = std::variant<std::monostate, DirectIoRefusal>;

/// One direct transfer of one block at the start of the file. A written block
/// is cut off again. A file that others write too is read: `direct_fd` is for
/// reading then.
StatusOr<OneBlock> TryOneBlock(int direct_fd, int buffered_fd, OpenMode mode) {
  const std::unique_ptr<void, FreeDeleter> block(
      std::aligned_alloc(kAssumedAlignment, kAssumedAlignment));
  if (block == nullptr) return Refused("aligned_alloc", ENOMEM);
  std::memset(block.get(), 0, kAssumedAlignment);
  if (mode != OpenMode::kCreateNew) {
    const ssize_t n = ::pread(direct_fd, block.get(), kAssumedAlignment, 0);
    if (n < 0) return Refused("direct pread", errno);
    return OneBlock();
  }
  const ssize_t n = ::pwrite(direct_fd, block.get(), kAssumedAlignment, 0);
  const int error = n < 0 ? errno : ENOSPC;
  if (::ftruncate(buffered_fd, 0) != 0) {
    return ErrnoToStatus(errno, {.op = "ftruncate", .nbytes = 0});
  }
  if (n != kAssumedAlignment) return Refused("direct pwrite", error);
  return OneBlock();
}

bool IsMultiple(int64_t value, int64_t of) { return value % of == 0; }

}  // namespace

bool FitsDirectIo(const DirectIoAlignment& alignment, int64_t byte_offset,
                  std::span<const IoSlice> slices) {
  if (!IsMultiple(byte_offset, alignment.offset)) return false;
  return std::all_of(slices.begin(), slices.end(), [&](const IoSlice& slice) {
    const auto address = reinterpret_cast<uintptr_t>(slice.data);
    return address % static_cast<uintptr_t>(alignment.memory) == 0 &&
           IsMultiple(static_cast<int64_t>(slice.nbytes), alignment.offset);
  });
}

StatusOr<std::variant<DirectDescriptor, DirectIoRefusal>> OpenDirect(
    int buffered_fd, OpenMode mode) {
  if (LivesInMemory(buffered_fd)) {
    return DirectIoRefusal{"the file system keeps files in memory"};
  }
  const std::string link = "/proc/self/fd/" + std::to_string(buffered_fd);
  const int access = mode == OpenMode::kRead ? O_RDONLY : O_WRONLY;
  DirectDescriptor direct{
      .fd = UniqueFd(::open(link.c_str(), access | O_DIRECT | O_CLOEXEC)),
      .alignment = {.memory = kAssumedAlignment, .offset = kAssumedAlignment}};
  if (!direct.fd.ok()) return Refused("open with O_DIRECT", errno);

  switch (AskFileSystem(direct.fd.get(), &direct.alignment)) {
    case Verdict::kYes:
      break;
    case Verdict::kNo:
      return DirectIoRefusal{"the file system has none for this file"};
    case Verdict::kCannotTell: {
      const UniqueFd reading(
          mode == OpenMode::kShared
              ? ::open(link.c_str(), O_RDONLY | O_DIRECT | O_CLOEXEC)
              : -1);
      if (mode == OpenMode::kShared && !reading.ok()) {
        return Refused("open with O_DIRECT for reading", errno);
      }
      const int probed = reading.ok() ? reading.get() : direct.fd.get();
      DCP_ASSIGN_OR_RETURN(OneBlock tried,
                           TryOneBlock(probed, buffered_fd, mode));
      if (auto* refusal = std::get_if<DirectIoRefusal>(&tried)) {
        return std::move(*refusal);
      }
    }
  }
  direct.alignment.offset =
      std::max({direct.alignment.offset, kAssumedAlignment,
                static_cast<int64_t>(::sysconf(_SC_PAGESIZE))});
  return direct;
}

StatusOr<DirectIoChoice> ProbeDirectIo(const std::string& path) {
  OpenMode mode = OpenMode::kRead;
  UniqueFd file(::open(path.c_str(), O_RDONLY | O_CLOEXEC | O_NONBLOCK));
  struct stat info = {};
  if (!file.ok() || ::fstat(file.get(), &info) != 0) {
    return ErrnoToStatus(errno, {.op = "open", .path = path});
  }
  if (S_ISDIR(info.st_mode)) {
    mode = OpenMode::kCreateNew;
    file =
        UniqueFd(::open(path.c_str(), O_TMPFILE | O_WRONLY | O_CLOEXEC, 0600));
    if (!file.ok()) {
      return ErrnoToStatus(errno, {.op = "open with O_TMPFILE", .path = path});
    }
  }
  DCP_ASSIGN_OR_RETURN(auto direct, OpenDirect(file.get(), mode));
  if (auto* refusal = std::get_if<DirectIoRefusal>(&direct)) {
    return DirectIoChoice{.available = false,
                          .reason = std::move(refusal->reason)};
  }
  const auto& alignment = std::get<DirectDescriptor>(direct).alignment;
  return DirectIoChoice{
      .available = true,
      .reason = "aligned to " + std::to_string(alignment.offset) + " B"};
}

}  // namespace dcp
