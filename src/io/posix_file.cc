// What can go wrong between write(2) and the platter, and what is done:
//
// 1. Short transfers, EINTR, EAGAIN, IOV_MAX, the 2 GiB limit of a call, and
//    direct I/O that is refused: Transfer (transfer.cc) decides, the same way
//    as for io_uring.
// 2. Write errors may surface later: delayed allocation, NFS, Lustre and quotas
//    report ENOSPC, EDQUOT or EIO at fsync(2) or close(2). A file is good only
//    after WriteFully, Sync and Close all said OK.
// 3. fsync is called once. After an error the kernel marks the pages clean and
//    reports the error once per descriptor (errseq_t, Linux 4.13), so a second
//    fsync would say OK about lost data (PostgreSQL's "fsyncgate"). The first
//    error therefore sticks to the file: it is lost, write another one.
// 4. The descriptor that wrote is the one that syncs. Errors from before an
//    open may not be reported to it, so nothing is reopened for syncing. The
//    direct descriptor needs no fsync of its own: a direct write reports its
//    error itself, and fsync of either one flushes the file's metadata and the
//    disk's cache.
// 5. close is not retried on EINTR: on Linux the descriptor is gone by then,
//    and its number may be another thread's already (close(2), NOTES).
// 6. fallocate(2) itself, not posix_fallocate(3), which writes zeros where the
//    file system cannot allocate. The size is extended too: direct writes that
//    extend a file wait for each other (ext4, XFS), those inside do not. After
//    a crash such a file may end in zeros; checksums notice.
// 7. ReadCached is preadv2(2) with RWF_NOWAIT. Where that is unknown, nothing
//    is cached as far as we can tell. On what is not cached the call starts the
//    kernel's read-ahead, so that a direct read of the same bytes would share
//    the device with it: where direct reads are possible, mincore(2) is asked
//    first. It tells the truth only to who may write the file (since Linux
//    5.2); once it was wrong, nothing is cached as far as we can tell.

#include "io/posix_file.h"

#include <fcntl.h>
#include <sched.h>
#include <sys/mman.h>
#include <sys/stat.h>
#include <sys/uio.h>
#include <unistd.h>

#include <algorithm>
#include <cerrno>
#include <utility>
#include <vector>

#include "io/slices.h"

namespace dcp {
namespace {

constexpr int kMaxInterrupts = 1000;

/// Calls `call` until it is not interrupted; returns 0 or errno.
template <typename Call>
int Uninterrupted(const Call& call) {
  for (int i = 0; i < kMaxInterrupts; ++i) {
    if (call() == 0) return 0;
    if (errno != EINTR) return errno;
  }
  return EINTR;
}

int64_t Execute(const TransferStep& step) {
  const auto count = static_cast<int>(step.iov.size());
  const ssize_t n =
      step.op == IoOp::kRead
          ? ::preadv(step.fd, step.iov.data(), count, step.byte_offset)
          : ::pwritev(step.fd, step.iov.data(), count, step.byte_offset);
  return n < 0 ? -errno : n;
}

/// Whether all of [begin, begin + nbytes) of `fd` seems to be in memory.
bool IsResident(int fd, int64_t begin, int64_t nbytes) {
  const int64_t page = ::sysconf(_SC_PAGESIZE);
  const int64_t first = begin / page * page;
  const auto length = static_cast<size_t>(begin + nbytes - first);
  std::vector<unsigned char> pages((length + static_cast<size_t>(page) - 1) /
                                   static_cast<size_t>(page));
  void* const mapped =
      ::mmap(nullptr, length, PROT_READ, MAP_SHARED, fd, first);
  if (mapped == MAP_FAILED) return false;
  const bool known = ::mincore(mapped, length, pages.data()) == 0;
  ::munmap(mapped, length);
  return known && std::all_of(pages.begin(), pages.end(),
                              [](unsigned char p) { return (p & 1) != 0; });
}

}  // namespace

PosixFile::PosixFile(std::string path, UniqueFd fd,
                     std::optional<DirectDescriptor> direct)
    : path_(std::move(path)),
      fd_(std::move(fd)),
      direct_fd_(direct ? std::move(direct->fd) : UniqueFd()),
      alignment_(direct ? direct->alignment : DirectIoAlignment{}),
      direct_enabled_(direct_fd_.ok()) {}

Status PosixFile::CheckOpen(const char* op) const {
  if (fd_.ok()) return absl::OkStatus();
  return FailedPrecondition(std::string(op) + " after Close() of " + path_);
}

Status PosixFile::Run(IoOp op, int64_t byte_offset,
                      std::span<const IoSlice> slices) {
  DCP_RETURN_IF_ERROR(CheckOpen(op == IoOp::kRead ? "read" : "write"));
  DCP_ASSIGN_OR_RETURN(const int64_t total,
                       CheckedTotal(path_, byte_offset, slices));
  Transfer transfer(op,
                    {.path = &path_,
                     .fd = fd(),
                     .direct_fd = direct_fd(),
                     .direct_io = direct_io()},
                    byte_offset, slices, total);
  while (!transfer.done()) {
    DCP_RETURN_IF_ERROR(transfer.OnResult(Execute(transfer.Next())));
    if (transfer.transient_failures() > 0) (void)::sched_yield();
  }
  if (transfer.direct_refused()) direct_enabled_ = false;
  return absl::OkStatus();
}

Status PosixFile::ReadFully(int64_t byte_offset,
                            std::span<const IoSlice> slices) {
  return Run(IoOp::kRead, byte_offset, slices);
}

Status PosixFile::WriteFully(int64_t byte_offset,
                             std::span<const IoSlice> slices) {
  return Run(IoOp::kWrite, byte_offset, slices);
}

StatusOr<int64_t> PosixFile::ReadCached(int64_t byte_offset,
                                        std::span<const IoSlice> slices) {
  DCP_RETURN_IF_ERROR(CheckOpen("read"));
  DCP_RETURN_IF_ERROR(CheckedTotal(path_, byte_offset, slices).status());
  if (!has_cached_reads_) return 0;
  std::vector<iovec> iov;
  const int64_t nbytes = SliceCursor(slices).Next(
      Transfer::kMaxStepSlices, Transfer::kMaxStepNbytes, &iov);
  const bool has_choice = direct_fd() >= 0;
  if (has_choice && !IsResident(fd_.get(), byte_offset, nbytes)) return 0;
  const ssize_t n =
      ::preadv2(fd_.get(), iov.data(), static_cast<int>(iov.size()),
                byte_offset, RWF_NOWAIT);
  if (has_choice && n < nbytes) has_cached_reads_ = false;
  if (n >= 0) return n;
  if (errno == EAGAIN || errno == EINTR) return 0;
  if (errno == EOPNOTSUPP || errno == ENOSYS) {
    has_cached_reads_ = false;
    return 0;
  }
  return ErrnoToStatus(errno, {.op = "preadv2",
                               .path = path_,
                               .byte_offset = byte_offset,
                               .nbytes = nbytes});
}

StatusOr<int64_t> PosixFile::Size() {
  DCP_RETURN_IF_ERROR(CheckOpen("fstat"));
  struct stat info = {};
  if (::fstat(fd_.get(), &info) != 0) {
    return ErrnoToStatus(errno, {.op = "fstat", .path = path_});
  }
  return info.st_size;
}

Status PosixFile::Truncate(int64_t nbytes) {
  DCP_RETURN_IF_ERROR(CheckOpen("truncate"));
  const int error =
      Uninterrupted([&] { return ::ftruncate(fd_.get(), nbytes); });
  if (error == 0) return absl::OkStatus();
  return ErrnoToStatus(error,
                       {.op = "ftruncate", .path = path_, .nbytes = nbytes});
}

Status PosixFile::Allocate(int64_t nbytes) {
  DCP_RETURN_IF_ERROR(CheckOpen("allocate"));
  if (nbytes == 0) return absl::OkStatus();
  const int error =
      Uninterrupted([&] { return ::fallocate(fd_.get(), 0, 0, nbytes); });
  if (error == 0 || error == EOPNOTSUPP || error == ENOSYS) {
    return absl::OkStatus();
  }
  return ErrnoToStatus(error,
                       {.op = "fallocate", .path = path_, .nbytes = nbytes});
}

Status PosixFile::Sync() {
  DCP_RETURN_IF_ERROR(CheckOpen("sync"));
  const MutexLock lock(sync_mutex_);
  if (!sync_error_.ok()) {
    return Annotate(sync_error_, "an earlier sync failed, the data is lost");
  }
  if (::fsync(fd_.get()) != 0) {
    sync_error_ = ErrnoToStatus(errno, {.op = "fsync", .path = path_});
  }
  return sync_error_;
}

Status PosixFile::Close() {
  DCP_RETURN_IF_ERROR(CheckOpen("close"));
  const int direct_fd = direct_fd_.Release();
  const int direct_error =
      direct_fd >= 0 && ::close(direct_fd) != 0 ? errno : 0;
  const int error = ::close(fd_.Release()) != 0 ? errno : direct_error;
  if (error == 0) return absl::OkStatus();
  return ErrnoToStatus(error, {.op = "close", .path = path_});
}

std::optional<DirectIoAlignment> PosixFile::direct_io() const {
  if (!direct_enabled_ || !direct_fd_.ok()) return std::nullopt;
  return alignment_;
}

int PosixFile::direct_fd() const {
  return direct_enabled_ ? direct_fd_.get() : -1;
}

}  // namespace dcp
