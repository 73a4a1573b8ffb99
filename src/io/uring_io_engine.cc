// The kernel's ring, and what can be wrong with it:
//
// 1. It may be forbidden: Docker's and containerd's default seccomp filters
//    answer io_uring_setup(2) with EPERM, gVisor with ENOSYS, the sysctl
//    kernel.io_uring_disabled with EPERM. A filter may even allow the setup and
//    refuse the rest. So ProbeUring() makes a ring, writes one byte and reads
//    it back; nothing less proves that it works. ENOMEM is waited for briefly:
//    kernels before 5.12, and later ones again (seen on 6.18), charge the
//    ring's own memory to the user's RLIMIT_MEMLOCK, and give it back some time
//    after another ring, of any process of that user, was closed.
// 2. No setup flags: SQPOLL burns a core, IOPOLL needs special files, and
//    SINGLE_ISSUER would tie an engine to the thread that made it.
// 3. The completion queue has at least as many places as there are entries in
//    flight, so it does not overflow; IORING_FEAT_NODROP (Linux 5.5) is
//    required all the same, with which the kernel keeps what does not fit.
// 4. Entries are submitted at once. Where the kernel cannot take one now
//    (EAGAIN, EBUSY, EINTR), it stays in the submission queue and goes with the
//    next call that waits.
// 5. An entry's iovecs live until its event, although IORING_FEAT_SUBMIT_STABLE
//    would let them go after submission: after 4 that may be later than Start.
// 6. Registered buffers save the kernel from pinning pages for each transfer.
//    They come one by one into a table that starts empty (Linux 5.19), so that
//    the first transfer need not wait until all memory is pinned. They count
//    towards RLIMIT_MEMLOCK (8 MiB or 64 KiB by default); where it does not
//    suffice (ENOMEM), or the kernel is older, the engine works without.
// 7. The kernel makes the ring's descriptor close-on-exec. After fork(2) both
//    processes share the ring; the child only unmaps it.
// 8. The destructor waits for the events of all entries that the kernel took:
//    it may still be reading or writing their memory. If even waiting fails
//    (somebody closed our descriptor), there is nothing left to wait with.

#include "io/uring_io_engine.h"

#include <liburing.h>
#include <sched.h>
#include <sys/mman.h>
#include <unistd.h>

#include <bit>
#include <cerrno>
#include <chrono>
#include <fstream>
#include <string>
#include <utility>

#include "base/unique_fd.h"
#include "dcp/clock.h"
#include "io/fork_guard.h"
#include "io/ring.h"
#include "io/ring_io_engine.h"

namespace dcp {
namespace {

constexpr int kMaxRefusals = 1000;
constexpr int kMaxMemoryWaits = 50;  // of a millisecond

bool IsTransient(int error) {
  return error == -EINTR || error == -EAGAIN || error == -EBUSY;
}

class KernelRing final : public Ring {
 public:
  static StatusOr<std::unique_ptr<KernelRing>> Make(int entries);
  KernelRing() { ring_.ring_fd = -1; }  // 0 would be somebody's file
  ~KernelRing() override;

  bool RegisterBuffer(int index, const iovec& buffer) override;
  int Start(const RingEntry& entry) override;
  StatusOr<std::optional<RingEvent>> Next(RingWait wait) override;

 private:
  std::optional<RingEvent> Peek();

  const ForkGuard fork_guard_;
  io_uring ring_ = {};
  unsigned entries_ = 0;
  int64_t unanswered_ = 0;  // entries in the submission queue or the kernel
  bool has_buffer_table_ = false;
};

/// io_uring_queue_init(3), waiting a little for memory (essay point 1).
int InitRing(int entries, io_uring* ring) {
  const auto count = std::bit_ceil(static_cast<unsigned>(entries));
  const auto clock = MakeSystemClock();
  int rc = io_uring_queue_init(count, ring, 0);
  for (int i = 0; rc == -ENOMEM && i < kMaxMemoryWaits; ++i) {
    clock->SleepFor(std::chrono::milliseconds(1));
    rc = io_uring_queue_init(count, ring, 0);
  }
  return rc;
}

StatusOr<std::unique_ptr<KernelRing>> KernelRing::Make(int entries) {
  auto ring = std::make_unique<KernelRing>();
  ring->entries_ = static_cast<unsigned>(entries);
  if (const int rc = InitRing(entries, &ring->ring_); rc != 0) {
    ring->ring_.ring_fd = -1;
    return ErrnoToStatus(-rc, {.op = "io_uring_setup"});
  }
  if ((ring->ring_.features & IORING_FEAT_NODROP) == 0) {
    return Unimplemented("io_uring_setup: no IORING_FEAT_NODROP (Linux 5.5)");
  }
  return ring;
}

KernelRing::~KernelRing() {
  if (ring_.ring_fd < 0) return;
  while (!fork_guard_.in_child() &&
         unanswered_ > static_cast<int64_t>(io_uring_sq_ready(&ring_))) {
    io_uring_cqe* cqe = nullptr;
    const int rc = io_uring_wait_cqe(&ring_, &cqe);
    if (rc != 0 && !IsTransient(rc)) break;
    if (rc == 0) {
      io_uring_cqe_seen(&ring_, cqe);
      --unanswered_;
    }
  }
  io_uring_queue_exit(&ring_);
}

bool KernelRing::RegisterBuffer(int index, const iovec& buffer) {
  if (!has_buffer_table_ &&
      io_uring_register_buffers_sparse(&ring_, entries_) != 0) {
    return false;
  }
  has_buffer_table_ = true;
  const __u64 no_tag = 0;
  return io_uring_register_buffers_update_tag(
             &ring_, static_cast<unsigned>(index), &buffer, &no_tag, 1) == 1;
}

void PrepareEntry(const RingEntry& entry, io_uring_sqe* sqe) {
  const auto offset = static_cast<uint64_t>(entry.byte_offset);
  const iovec& first = entry.iov.front();
  const auto nbytes = static_cast<unsigned>(first.iov_len);
  const auto count = static_cast<unsigned>(entry.iov.size());
  const bool reads = entry.op == IoOp::kRead;
  if (entry.buffer_index >= 0 && reads) {
    io_uring_prep_read_fixed(sqe, entry.fd, first.iov_base, nbytes, offset,
                             entry.buffer_index);
  } else if (entry.buffer_index >= 0) {
    io_uring_prep_write_fixed(sqe, entry.fd, first.iov_base, nbytes, offset,
                              entry.buffer_index);
  } else if (reads) {
    io_uring_prep_readv(sqe, entry.fd, entry.iov.data(), count, offset);
  } else {
    io_uring_prep_writev(sqe, entry.fd, entry.iov.data(), count, offset);
  }
  io_uring_sqe_set_data64(sqe, entry.user_data);
}

int KernelRing::Start(const RingEntry& entry) {
  io_uring_sqe* sqe = io_uring_get_sqe(&ring_);
  if (sqe == nullptr) return EBUSY;
  PrepareEntry(entry, sqe);
  ++unanswered_;
  // An error leaves the entry in the queue; Next() submits it and reports.
  (void)io_uring_submit(&ring_);
  return 0;
}

std::optional<RingEvent> KernelRing::Peek() {
  io_uring_cqe* cqe = nullptr;
  if (io_uring_peek_cqe(&ring_, &cqe) != 0) return std::nullopt;
  const RingEvent event{.user_data = io_uring_cqe_get_data64(cqe),
                        .result = cqe->res};
  io_uring_cqe_seen(&ring_, cqe);
  --unanswered_;
  return event;
}

StatusOr<std::optional<RingEvent>> KernelRing::Next(RingWait wait) {
  int refusals = 0;
  for (;;) {
    if (std::optional<RingEvent> event = Peek()) return event;
    const bool waits = wait == RingWait::kForOne;
    if (!waits && io_uring_sq_ready(&ring_) == 0) return std::nullopt;
    const int rc = io_uring_submit_and_wait(&ring_, waits ? 1 : 0);
    if (rc < 0) {
      const bool gives_up = rc != -EINTR && ++refusals == kMaxRefusals;
      if (!IsTransient(rc) || gives_up) {
        return ErrnoToStatus(-rc, {.op = "io_uring_enter"});
      }
      (void)::sched_yield();
    }
    if (!waits) return Peek();
  }
}

/// Why EPERM: the sysctl, or else a filter.
std::string WhoForbids() {
  int disabled = 0;
  std::ifstream sysctl("/proc/sys/kernel/io_uring_disabled");
  if (sysctl >> disabled && disabled != 0) {
    return "kernel.io_uring_disabled=" + std::to_string(disabled);
  }
  return "probably a seccomp filter, as containers have by default";
}

/// Writes one byte through `ring` and reads it back without.
Status WriteOneByte(Ring& ring) {
  const UniqueFd file(::memfd_create("dcp-io-uring-probe", MFD_CLOEXEC));
  if (!file.ok()) return ErrnoToStatus(errno, {.op = "memfd_create"});
  char sent = 'd';
  iovec slice{&sent, 1};
  if (const int error = ring.Start(
          {.op = IoOp::kWrite, .fd = file.get(), .iov = {&slice, 1}});
      error != 0) {
    return ErrnoToStatus(error, {.op = "io_uring_enter"});
  }
  DCP_ASSIGN_OR_RETURN(const std::optional<RingEvent> event,
                       ring.Next(RingWait::kForOne));
  if (!event) return Internal("io_uring write: no event");
  if (event->result < 0) {
    return ErrnoToStatus(static_cast<int>(-event->result),
                         {.op = "io_uring write"});
  }
  char received = 0;
  if (event->result != 1 || ::pread(file.get(), &received, 1, 0) != 1 ||
      received != sent) {
    return Internal("io_uring write: the byte did not arrive");
  }
  return absl::OkStatus();
}

}  // namespace

Status ProbeUring() {
  constexpr int kEntries = 4;
  auto ring = KernelRing::Make(kEntries);
  Status status = ring.ok() ? WriteOneByte(**ring) : ring.status();
  if (status.code() == absl::StatusCode::kPermissionDenied) {
    status = MakeStatus(status.code(), std::string(Message(status)) + " (" +
                                           WhoForbids() + ")");
  }
  return status;
}

StatusOr<std::unique_ptr<Ring>> MakeKernelRing(int entries) {
  return KernelRing::Make(entries);
}

StatusOr<std::unique_ptr<IoEngine>> MakeUringIoEngine(int queue_depth) {
  DCP_ASSIGN_OR_RETURN(std::unique_ptr<Ring> ring, MakeKernelRing(queue_depth));
  return std::make_unique<RingIoEngine>(std::move(ring), queue_depth);
}

}  // namespace dcp
