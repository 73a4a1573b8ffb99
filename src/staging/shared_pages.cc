#include "staging/shared_pages.h"

#include <fcntl.h>
#include <sys/mman.h>
#include <sys/resource.h>
#include <unistd.h>

#include <algorithm>
#include <atomic>
#include <cerrno>
#include <optional>
#include <string>
#include <thread>
#include <utility>

#include "base/round_up.h"
#include "base/unique_fd.h"
#include "staging/huge_pages.h"
#include "staging/threads.h"

namespace dcp {
namespace {

constexpr int kNoAccessFlags = MAP_PRIVATE | MAP_ANONYMOUS | MAP_NORESERVE;
constexpr size_t kMinReserved = size_t{1} << 30;
constexpr size_t kMaxThreads = 4;
constexpr int kPopulateWrite = 23;  // MADV_POPULATE_WRITE

/// Addresses, less where a limit (ulimit -v) allows less.
StatusOr<std::span<std::byte>> Reserve(size_t max_nbytes) {
  for (size_t nbytes = RoundUpTo(max_nbytes, kHugePage);;
       nbytes = RoundUpTo(nbytes / 2, kHugePage)) {
    void* const memory =
        mmap(nullptr, nbytes + kHugePage, PROT_NONE, kNoAccessFlags, -1, 0);
    if (memory != MAP_FAILED) {
      auto* const first = static_cast<std::byte*>(memory);
      const size_t at = reinterpret_cast<uintptr_t>(first) % kHugePage;
      const size_t skipped = (kHugePage - at) % kHugePage;
      if (skipped > 0) munmap(first, skipped);
      munmap(first + skipped + nbytes, kHugePage - skipped);
      return std::span(first + skipped, nbytes);
    }
    if (nbytes < kMinReserved) {
      return ErrnoToStatus(errno, {.op = "mmap of addresses",
                                   .nbytes = static_cast<int64_t>(nbytes)});
    }
  }
}

/// Gives `fd` its size, within what a file may have: beyond it the process
/// would be killed (SIGXFSZ).
Status SetNbytes(int fd, size_t nbytes) {
  const ErrorDetail what{.op = "ftruncate of shared memory",
                         .nbytes = static_cast<int64_t>(nbytes)};
  rlimit allowed{};
  if (::getrlimit(RLIMIT_FSIZE, &allowed) == 0 && nbytes > allowed.rlim_cur) {
    return Annotate(ErrnoToStatus(EFBIG, what),
                    "files may have " + std::to_string(allowed.rlim_cur) +
                        " B in this process (ulimit -f)");
  }
  // What is never touched takes no memory.
  if (::ftruncate(fd, static_cast<off_t>(nbytes)) == 0) return absl::OkStatus();
  return ErrnoToStatus(errno, what);
}

/// Has the system give all pages of `memory`, which is `fd` from `offset` on;
/// errno.
int Populate(std::span<std::byte> memory, int fd, off_t offset) {
  const size_t threads =
      std::clamp<size_t>(std::thread::hardware_concurrency(), 1, kMaxThreads);
  const size_t share = RoundUpTo(memory.size() / threads + 1, kHugePage);
  std::atomic<int> error = 0;
  RunOnThreads(threads, [&](size_t thread) {
    const size_t begin = std::min(memory.size(), thread * share);
    const size_t nbytes = std::min(memory.size() - begin, share);
    if (nbytes > 0 &&
        madvise(memory.data() + begin, nbytes, kPopulateWrite) != 0) {
      error = errno;
    }
  });
  if (error == EINVAL) {  // Linux < 5.14
    const auto nbytes = static_cast<off_t>(memory.size());
    error = ::fallocate(fd, 0, offset, nbytes) == 0 ? 0 : errno;
  }
  const bool is_full = error == ENOSPC || error == EFAULT;
  return is_full ? ENOMEM : error.load();
}

}  // namespace

size_t SharedPages::NbytesOfArena() {
  const auto pages = static_cast<size_t>(sysconf(_SC_PHYS_PAGES));
  const auto page = static_cast<size_t>(sysconf(_SC_PAGESIZE));
  return std::max(4 * pages * page, kMinReserved);
}

StatusOr<std::unique_ptr<SharedPages>> SharedPages::Make(size_t max_nbytes) {
  UniqueFd fd(::memfd_create("dcpcpp-staging", MFD_CLOEXEC));
  if (!fd.ok()) return ErrnoToStatus(errno, {.op = "memfd_create"});
  DCP_ASSIGN_OR_RETURN(const auto reserved, Reserve(max_nbytes));
  Status sized = SetNbytes(fd.get(), reserved.size());
  if (!sized.ok()) {
    munmap(reserved.data(), reserved.size());
    return sized;
  }
  return std::unique_ptr<SharedPages>(new SharedPages(std::move(fd), reserved));
}

SharedPages::SharedPages(UniqueFd fd, std::span<std::byte> reserved)
    : owner_(::getpid()), fd_(std::move(fd)), reserved_(reserved) {
  // A kernel without it has a child that keeps memory longer.
  madvise(reserved_.data(), reserved_.size(), MADV_DONTFORK);
}

SharedPages::~SharedPages() {
  if (::getpid() == owner_) munmap(reserved_.data(), reserved_.size());
}

std::optional<size_t> SharedPages::FindGap(size_t nbytes) const {
  size_t at = 0;
  for (const auto& [begin, end] : mapped_) {
    if (at + nbytes <= begin) return at;
    at = RoundUpTo(end, kHugePage);
  }
  if (nbytes > reserved_.size() || at > reserved_.size() - nbytes) {
    return std::nullopt;
  }
  return at;
}

StatusOr<std::span<std::byte>> SharedPages::Map(size_t nbytes) {
  const std::optional<size_t> at = FindGap(nbytes);
  const ErrorDetail what{.op = "mmap of shared memory",
                         .nbytes = static_cast<int64_t>(nbytes)};
  if (!at) return ErrnoToStatus(ENOMEM, what);
  const std::span<std::byte> memory = reserved_.subspan(*at, nbytes);
  const auto offset = static_cast<off_t>(*at);
  if (mmap(memory.data(), nbytes, PROT_READ | PROT_WRITE,
           MAP_SHARED | MAP_FIXED, fd_.get(), offset) == MAP_FAILED) {
    return ErrnoToStatus(errno, what);
  }
  mapped_[*at] = *at + nbytes;
  madvise(memory.data(), nbytes, MADV_DONTFORK);
  const int error = Populate(memory, fd_.get(), offset);
  if (error == 0) return memory;
  Unmap(memory);
  return ErrnoToStatus(error, what);
}

void SharedPages::Unmap(std::span<std::byte> memory) {
  const auto begin = static_cast<size_t>(OffsetOf(memory.data()));
  Forget(begin, begin + memory.size());
  // The addresses stay reserved. If that fails, the pages go all the same.
  if (mmap(memory.data(), memory.size(), PROT_NONE, kNoAccessFlags | MAP_FIXED,
           -1, 0) != MAP_FAILED) {
    madvise(memory.data(), memory.size(), MADV_DONTFORK);
  }
  (void)::fallocate(fd_.get(), FALLOC_FL_PUNCH_HOLE | FALLOC_FL_KEEP_SIZE,
                    static_cast<off_t>(begin),
                    static_cast<off_t>(memory.size()));
}

/// Cuts [begin, end) out of what is mapped.
void SharedPages::Forget(size_t begin, size_t end) {
  auto range = mapped_.upper_bound(begin);
  if (range != mapped_.begin()) --range;
  while (range != mapped_.end() && range->first < end) {
    const auto [first, last] = *range;
    if (last <= begin) {
      ++range;
      continue;
    }
    range = mapped_.erase(range);
    if (first < begin) mapped_[first] = begin;
    if (last > end) mapped_[end] = last;
  }
}

}  // namespace dcp
