#include "storage/pool_window.h"

#include <fcntl.h>
#include <sys/mman.h>
#include <sys/stat.h>
#include <unistd.h>

#include <algorithm>
#include <cerrno>
#include <cstring>
#include <new>
#include <utility>

#include "base/random_id.h"
#include "base/round_up.h"
#include "base/wire.h"
#include "comm/peer_address.h"
#include "staging/huge_pages.h"
#include "storage/pool_division.h"

namespace dcp {
namespace {

static_assert(sizeof(PoolBoard) <= kPageSize);
static_assert(std::atomic<uint64_t>::is_always_lock_free);

// Of the segment: the board comes first, then the slots.
constexpr auto kSlotsOffset = static_cast<int64_t>(kHugePage);
constexpr size_t kMaxSlotNbytes =
    RoundUpTo(static_cast<size_t>(kMaxPieceNbytes + kPieceOverhang), kPageSize);

// Of pool_member.cc; another one for each that does not go with it.
constexpr std::string_view kProtocol = "pool1";

/// Maps bytes of the segment of another process.
StatusOr<std::span<std::byte>> MapFrom(int fd, int64_t offset, size_t nbytes) {
  void* const memory =
      ::mmap(nullptr, nbytes, PROT_READ | PROT_WRITE, MAP_SHARED, fd, offset);
  if (memory == MAP_FAILED) {
    return ErrnoToStatus(errno, {.op = "mmap of a pool's window",
                                 .byte_offset = offset,
                                 .nbytes = static_cast<int64_t>(nbytes)});
  }
  ::madvise(memory, nbytes, MADV_DONTFORK);
  return std::span(static_cast<std::byte*>(memory), nbytes);
}

/// Names a namespace of this process; empty where procfs does not tell.
std::string NamespaceOf(const std::string& kind) {
  struct stat found {};
  if (::stat(("/proc/self/ns/" + kind).c_str(), &found) != 0) return "";
  return std::to_string(found.st_dev) + ":" + std::to_string(found.st_ino);
}

}  // namespace

StatusOr<std::unique_ptr<PoolWindow>> PoolWindow::Make() {
  std::unique_ptr<PoolWindow> window(new PoolWindow());
  DCP_ASSIGN_OR_RETURN(
      window->pages_,
      SharedPages::Make(kHugePage + PoolBoard::kMaxSlots * kMaxSlotNbytes));
  DCP_ASSIGN_OR_RETURN(const std::span<std::byte> memory,
                       window->pages_->Map(kPageSize));
  window->board_ = new (memory.data()) PoolBoard();
  const std::string token = MakeRandomHex();
  std::copy_n(token.begin(), window->board_->token.size(),
              window->board_->token.begin());
  return window;
}

StatusOr<std::unique_ptr<PoolWindow>> PoolWindow::Open(
    std::string_view address) {
  WireReader in(address, "the address of a pool's window");
  const std::string process = std::to_string(in.Varint());
  const std::string descriptor = std::to_string(in.Varint());
  const std::string_view token = in.String();
  DCP_RETURN_IF_ERROR(in.Finish());
  const std::string path = "/proc/" + process + "/fd/" + descriptor;
  std::unique_ptr<PoolWindow> window(new PoolWindow());
  // It may be anything by now, a terminal or a pipe as well.
  window->fd_ = UniqueFd(
      ::open(path.c_str(), O_RDWR | O_CLOEXEC | O_NOCTTY | O_NONBLOCK));
  if (!window->fd_.ok()) {
    return ErrnoToStatus(errno, {.op = "open", .path = path});
  }
  struct stat found {};
  if (::fstat(window->fd_.get(), &found) != 0 || found.st_size < kSlotsOffset) {
    return NotFound(path + " is no window of a pool");
  }
  DCP_ASSIGN_OR_RETURN(const std::span<std::byte> memory,
                       MapFrom(window->fd_.get(), 0, kPageSize));
  window->board_ = std::launder(reinterpret_cast<PoolBoard*>(memory.data()));
  const auto& theirs = window->board_->token;
  // The process may be another one by now.
  if (token != std::string_view(theirs.data(), theirs.size())) {
    return NotFound(path + " is another window");
  }
  return window;
}

PoolWindow::~PoolWindow() {
  if (pages_ != nullptr) return;  // they unmap what is theirs
  if (board_ != nullptr) ::munmap(board_, kPageSize);
  if (!slots_.empty()) ::munmap(slots_.data(), slots_.size());
}

std::string PoolWindow::address() const {
  WireWriter out;
  out.PutVarint(static_cast<uint64_t>(::getpid()));
  out.PutVarint(static_cast<uint64_t>(pages_->fd()));
  out.PutString({board_->token.data(), board_->token.size()});
  return std::move(out).Take();
}

Status PoolWindow::SetSlots(size_t count, int64_t slot_nbytes) {
  slot_count_ = count;
  slot_nbytes_ = RoundUpTo(static_cast<size_t>(slot_nbytes), kPageSize);
  const size_t nbytes = count * slot_nbytes_;
  if (pages_ == nullptr) {
    // A forked child would keep the segment by its descriptor.
    const UniqueFd fd = std::move(fd_);
    if (count == 0) return absl::OkStatus();
    DCP_ASSIGN_OR_RETURN(slots_, MapFrom(fd.get(), kSlotsOffset, nbytes));
    return absl::OkStatus();
  }
  if (count == 0) return absl::OkStatus();
  DCP_ASSIGN_OR_RETURN(slots_, pages_->Map(nbytes));
  if (pages_->OffsetOf(slots_.data()) == kSlotsOffset) return absl::OkStatus();
  return Internal("the slots of a pool's window are at byte " +
                  std::to_string(pages_->OffsetOf(slots_.data())));
}

std::span<std::byte> PoolWindow::MemoryOf(size_t number) const {
  return slots_.subspan(number % slot_count_ * slot_nbytes_, slot_nbytes_);
}

std::string PoolPlace(std::string_view directory) {
  const std::string host = HostIdentity();
  const std::string processes = NamespaceOf("pid");
  const std::string mounts = NamespaceOf("mnt");
  if (host.empty() || processes.empty() || mounts.empty()) return "";
  WireWriter out;
  out.PutString(kProtocol);
  out.PutString(host);
  out.PutString(processes);
  out.PutString(mounts);
  out.PutString(directory);
  return std::move(out).Take();
}

}  // namespace dcp
