// The protocol between requests and the ring:
//
// 1. A request takes a slot; a slot has at most one entry in the ring. There
//    are queue_depth slots, and the ring has room for as many entries and at
//    least as many events, so it can neither refuse for want of room nor lose
//    an event.
// 2. An event is judged by Transfer (transfer.cc): the rest of a short transfer
//    is started again in the same slot; entries are never linked, because a
//    short transfer breaks a link chain and cancels what follows.
// 3. EAGAIN and its like are started again kMaxRestarts times; then, or when
//    the ring does not take an entry although nothing is in it, the rest is
//    done in this thread by the file itself. The system calls there wait where
//    the ring would not, so progress does not depend on the ring.
// 4. An entry that the ring did not take while others are in it is deferred
//    until one of those is answered: EBUSY means that events must be taken
//    first.
// 5. A file without a descriptor (memory, a wrapper) is used through its own
//    methods, in Submit().
// 6. The order of events means nothing. Who needs "written, then synced" waits
//    for the writes, then calls File::Sync().
// 7. Memory that runs out fails a request, never loses it: what is needed to
//    bring an entry or a completion on its way is there from the start, and
//    what a transfer throws becomes its completion.
// 8. The destructor takes all events, so that no kernel writes into memory that
//    is somebody else's by then.

#include "io/ring_io_engine.h"

#include <algorithm>
#include <cerrno>
#include <string>
#include <utility>

#include "base/guarded.h"
#include "io/io_request.h"
#include "io/slices.h"

namespace dcp {
namespace {

constexpr int kMaxRestarts = 8;
/// What the kernel takes as one registered buffer (io_uring_register(2)).
constexpr size_t kMaxRegisteredNbytes = size_t{1} << 30;

}  // namespace

RingIoEngine::RingIoEngine(std::unique_ptr<Ring> ring, int queue_depth)
    : slots_(static_cast<size_t>(queue_depth)),
      deferred_(slots_.size()),
      finished_(slots_.size()),
      ring_(std::move(ring)) {
  registered_.reserve(slots_.size());
  free_.reserve(slots_.size());
  for (size_t i = slots_.size(); i > 0; --i) free_.push_back(i - 1);
}

RingIoEngine::~RingIoEngine() {
  if (fork_guard_.in_child()) return;
  while (in_ring_ > 0) {
    // A ring that fails to answer has its own destructor wait.
    if (!Step(RingWait::kForOne).ok()) break;
  }
}

int RingIoEngine::in_flight() const {
  return static_cast<int>(slots_.size() - free_.size() + finished_.size());
}

bool RingIoEngine::RegisterBuffer(IoSlice buffer) {
  if (fork_guard_.in_child() || refused_ || buffer.nbytes == 0 ||
      buffer.nbytes > kMaxRegisteredNbytes ||
      registered_.size() == slots_.size()) {
    return false;
  }
  const RegisteredBuffer added{.memory = {buffer.data, buffer.nbytes},
                               .index = static_cast<int>(registered_.size())};
  refused_ = !ring_->RegisterBuffer(added.index, added.memory);
  if (refused_) return false;
  registered_.insert(
      std::upper_bound(
          registered_.begin(), registered_.end(), added,
          [](const RegisteredBuffer& a, const RegisteredBuffer& b) {
            return a.begin() < b.begin();
          }),
      added);
  return true;
}

Status RingIoEngine::Submit(const IoRequest& request) {
  DCP_RETURN_IF_ERROR(fork_guard_.Check());
  DCP_ASSIGN_OR_RETURN(const int64_t total, CheckRequest(request));
  if (in_flight() == queue_depth()) return QueueFullError(queue_depth());
  File& file = *request.file;
  if (file.fd() < 0 || total == 0) {
    finished_.Push({.tag = request.tag, .status = ExecuteRequest(request)});
    return absl::OkStatus();
  }
  auto transfer =
      std::make_unique<Transfer>(request.op,
                                 TransferTarget{.path = &file.path(),
                                                .fd = file.fd(),
                                                .direct_fd = file.direct_fd(),
                                                .direct_io = file.direct_io()},
                                 request.byte_offset, request.slices, total);
  const size_t index = free_.back();
  free_.pop_back();
  slots_[index].request = request;
  slots_[index].transfer = std::move(transfer);
  Start(index);
  return absl::OkStatus();
}

void RingIoEngine::Start(size_t index) {
  const Status status = Guarded([&] {
    StartOrDefer(index);
    return absl::OkStatus();
  });
  if (!status.ok()) Finish(index, status);
}

void RingIoEngine::StartOrDefer(size_t index) {
  Slot& slot = slots_[index];
  const TransferStep step = slot.transfer->Next();
  const int error = ring_->Start({.op = step.op,
                                  .fd = step.fd,
                                  .byte_offset = step.byte_offset,
                                  .iov = step.iov,
                                  .buffer_index = RegisteredIndex(step),
                                  .user_data = index});
  if (error == 0) {
    slot.in_ring = true;
    ++in_ring_;
  } else if (in_ring_ > 0) {
    deferred_.Push(index);
  } else {
    FinishInThisThread(index);
  }
}

void RingIoEngine::StartDeferred() {
  for (size_t n = deferred_.size(); n > 0; --n) Start(deferred_.Pop());
}

StatusOr<bool> RingIoEngine::Step(RingWait wait) {
  DCP_ASSIGN_OR_RETURN(const std::optional<RingEvent> event, ring_->Next(wait));
  if (!event) return false;
  DCP_RETURN_IF_ERROR(OnEvent(*event));
  StartDeferred();
  return true;
}

Status RingIoEngine::OnEvent(const RingEvent& event) {
  if (event.user_data >= slots_.size() || !slots_[event.user_data].in_ring) {
    return Internal("the ring answered entry " +
                    std::to_string(event.user_data) + ", which it has not");
  }
  slots_[event.user_data].in_ring = false;
  --in_ring_;
  OnResult(event.user_data, event.result);
  return absl::OkStatus();
}

void RingIoEngine::OnResult(size_t index, int64_t result) {
  const Status status = Guarded([&] {
    GoOn(index, result);
    return absl::OkStatus();
  });
  if (!status.ok()) Finish(index, status);
}

void RingIoEngine::GoOn(size_t index, int64_t result) {
  Transfer& transfer = *slots_[index].transfer;
  Status status = transfer.OnResult(result);
  if (!status.ok() || transfer.done()) {
    Finish(index, std::move(status));
  } else if (transfer.transient_failures() > kMaxRestarts) {
    FinishInThisThread(index);
  } else {
    Start(index);
  }
}

void RingIoEngine::FinishInThisThread(size_t index) {
  const Slot& slot = slots_[index];
  const int64_t done = slot.transfer->done_nbytes();
  const std::vector<IoSlice> rest =
      SubSlices(slot.request.slices, done, slot.transfer->left_nbytes());
  IoRequest request = slot.request;
  request.byte_offset += done;
  request.slices = rest;
  Finish(index, ExecuteRequest(request));
}

void RingIoEngine::Finish(size_t index, Status status) {
  finished_.Push(
      {.tag = slots_[index].request.tag, .status = std::move(status)});
  slots_[index].transfer.reset();
  free_.push_back(index);
}

int RingIoEngine::RegisteredIndex(const TransferStep& step) const {
  if (step.iov.size() != 1) return -1;
  const iovec& slice = step.iov.front();
  auto* const begin = static_cast<std::byte*>(slice.iov_base);
  const auto after =
      std::upper_bound(registered_.begin(), registered_.end(), begin,
                       [](const std::byte* a, const RegisteredBuffer& b) {
                         return a < b.begin();
                       });
  if (after == registered_.begin()) return -1;
  const RegisteredBuffer& buffer = *std::prev(after);
  return begin + slice.iov_len <= buffer.end() ? buffer.index : -1;
}

IoCompletion RingIoEngine::TakeFinished() { return finished_.Pop(); }

StatusOr<IoCompletion> RingIoEngine::Wait() {
  DCP_RETURN_IF_ERROR(fork_guard_.Check());
  if (in_flight() == 0) return NothingInFlightError();
  while (finished_.empty()) {
    DCP_RETURN_IF_ERROR(Step(RingWait::kForOne).status());
  }
  return TakeFinished();
}

StatusOr<std::optional<IoCompletion>> RingIoEngine::Poll() {
  DCP_RETURN_IF_ERROR(fork_guard_.Check());
  bool stepped = in_ring_ > 0;
  while (stepped) {
    DCP_ASSIGN_OR_RETURN(stepped, Step(RingWait::kNo));
  }
  if (finished_.empty()) return std::nullopt;
  return TakeFinished();
}

}  // namespace dcp
