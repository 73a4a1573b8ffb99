// 1. The communicator is a split of the trainer's, made by the thread that
//    makes the link. It shares nothing with it (`splitShare` 0), so that its
//    end is not the trainer's, and has one CTA, so that a wait takes one SM.
// 2. It does not block (`blocking` 0): a call of NCCL that has to wait for
//    other ranks returns ncclInProgress, and ncclCommGetAsyncError is polled
//    until it says otherwise; only then may the next call come, or an event be
//    recorded behind it (nccl.h, ncclCommInitRankConfig).
// 3. An operation is a copy to the device, NCCL's kernel, and an event, on our
//    own stream. The copy back is made when the event has passed: behind a
//    kernel that waits for other ranks it could not be given up.
// 4. Both ends of a copy are ours, and pinned: the driver makes a thread wait
//    for copies of other memory, however long the kernel before them takes.
// 5. ncclCommAbort ends kernels that wait. It is local, and any rank may call
//    it at any time; Finalize and Destroy take all ranks.

#include "nccl/nccl_link.h"

#include <chrono>
#include <string>
#include <utility>

#include "base/poll_pause.h"

namespace dcp {
namespace {

// How long an aborted kernel may take to end.
constexpr Clock::Duration kAbortPatience = std::chrono::seconds(1);

/// Where the last of them ends in the buffer.
size_t EndOf(std::span<const NcclTransfer> transfers) {
  return transfers.empty() ? 0
                           : transfers.back().offset + transfers.back().nbytes;
}

/// Stops at the first one that NCCL refuses.
template <typename Enqueue>
NcclResult EnqueueEach(std::span<const NcclTransfer> transfers,
                       const Enqueue& enqueue) {
  for (const NcclTransfer& transfer : transfers) {
    const NcclResult result = enqueue(transfer);
    if (result != kNcclSuccess && result != kNcclInProgress) return result;
  }
  return kNcclSuccess;
}

}  // namespace

StatusOr<std::unique_ptr<NcclLink>> NcclLink::Split(Parts parts,
                                                    NcclComm trainer,
                                                    NcclDeadline deadline) {
  std::unique_ptr<NcclLink> link(new NcclLink(std::move(parts)));
  const NcclApi& api = link->api();
  const auto check = [&](NcclResult result, const char* call) {
    return CheckNccl(api, result, call, trainer);
  };
  DCP_RETURN_IF_ERROR(
      check(api.comm_count(trainer, &link->size_), "ncclCommCount"));
  DCP_RETURN_IF_ERROR(
      check(api.comm_user_rank(trainer, &link->rank_), "ncclCommUserRank"));
  DCP_RETURN_IF_ERROR(check(api.comm_cu_device(trainer, &link->device_.index),
                            "ncclCommCuDevice"));
  const Status made = link->Run([&]() -> Status {
    DCP_RETURN_IF_ERROR(link->SplitFrom(trainer, deadline));
    return link->MakeBuffers();
  });
  DCP_RETURN_IF_ERROR(made);
  return link;
}

Status NcclLink::SplitFrom(NcclComm trainer, NcclDeadline deadline) {
  // NCCL writes to it when all ranks have come, which may be after we gave up.
  auto made = std::make_unique<NcclComm>(nullptr);
  NcclConfig config;
  config.blocking = 0;
  config.min_ctas = 1;
  config.max_ctas = 1;
  config.split_share = 0;
  constexpr const char* kCall = "ncclCommSplit";
  DCP_RETURN_IF_ERROR(
      CheckNccl(api(), api().comm_split(trainer, 0, rank_, made.get(), &config),
                kCall, trainer));
  // The trainer's is in progress, too, where it does not block.
  Status split = Settle(trainer, kCall, deadline);
  if (!split.ok()) {
    // NOLINTNEXTLINE(bugprone-unused-return-value): left to NCCL
    static_cast<void>(made.release());
    return split;
  }
  comm_ = *made;
  if (comm_ == nullptr) return Internal("ncclCommSplit made no communicator");
  return Settle(comm_, kCall, deadline);
}

Status NcclLink::MakeBuffers() {
  const auto check = [this](CuResult result, const char* call) {
    return CheckCuda(cuda(), result, call);
  };
  int least = 0;
  int greatest = 0;
  DCP_RETURN_IF_ERROR(
      check(cuda().ctx_get_stream_priority_range(&least, &greatest),
            "cuCtxGetStreamPriorityRange"));
  DCP_RETURN_IF_ERROR(check(
      cuda().stream_create_with_priority(&stream_, kCuStreamNonBlocking, least),
      "cuStreamCreateWithPriority"));
  DCP_RETURN_IF_ERROR(check(cuda().event_create(&event_, kCuEventDisableTiming),
                            "cuEventCreate"));
  DCP_RETURN_IF_ERROR(
      check(cuda().mem_alloc(&buffer_, kBufferNbytes), "cuMemAlloc"));
  void* host = nullptr;
  DCP_RETURN_IF_ERROR(
      check(cuda().mem_alloc_host(&host, kBufferNbytes), "cuMemAllocHost"));
  host_ = static_cast<char*>(host);
  return absl::OkStatus();
}

NcclLink::~NcclLink() {
  Abort();
  // A device that is lost keeps nothing, and its errors were seen.
  (void)parts_.contexts->Run(device_, [this] {
    if (event_ != nullptr) cuda().event_destroy(event_);
    if (stream_ != nullptr) cuda().stream_destroy(stream_);
    if (buffer_ != 0) cuda().mem_free(buffer_);
    if (host_ != nullptr) cuda().mem_free_host(host_);
    return absl::OkStatus();
  });
}

void* NcclLink::device_at(size_t offset) const {
  // NOLINTNEXTLINE(performance-no-int-to-ptr): CUdeviceptr is a number
  return reinterpret_cast<void*>(buffer_ + offset);
}

Status NcclLink::Run(const std::function<Status()>& body) {
  Status status = parts_.contexts->Run(device_, body);
  if (!status.ok()) Abort();
  return status;
}

Status NcclLink::BeginAllGather(size_t nbytes, NcclDeadline deadline) {
  const size_t own = static_cast<size_t>(rank_) * nbytes;
  const size_t all = static_cast<size_t>(size_) * nbytes;
  return Begin({.name = "ncclAllGather",
                .sent_nbytes = all,
                .received_nbytes = all,
                .enqueue =
                    [=, this] {
                      return api().all_gather(device_at(own), device_at(0),
                                              nbytes, kNcclUint8, comm_,
                                              stream_);
                    }},
               deadline);
}

Status NcclLink::BeginBroadcast(size_t nbytes, NcclDeadline deadline) {
  const bool sends = rank_ == 0;
  return Begin({.name = "ncclBroadcast",
                .sent_nbytes = sends ? nbytes : 0,
                .received_nbytes = sends ? 0 : nbytes,
                .enqueue =
                    [=, this] {
                      return api().broadcast(device_at(0), device_at(0), nbytes,
                                             kNcclUint8, 0, comm_, stream_);
                    }},
               deadline);
}

Status NcclLink::BeginSends(std::span<const NcclTransfer> sends,
                            NcclDeadline deadline) {
  const auto send = [this](const NcclTransfer& each) {
    return api().send(device_at(each.offset), each.nbytes, kNcclUint8,
                      each.peer, comm_, stream_);
  };
  return Begin({.name = "ncclSend",
                .sent_nbytes = EndOf(sends),
                .enqueue = [&] { return EnqueueEach(sends, send); }},
               deadline);
}

Status NcclLink::BeginReceipts(std::span<const NcclTransfer> receipts,
                               NcclDeadline deadline) {
  const auto receive = [this](const NcclTransfer& each) {
    return api().recv(device_at(each.offset), each.nbytes, kNcclUint8,
                      each.peer, comm_, stream_);
  };
  return Begin({.name = "ncclRecv",
                .received_nbytes = EndOf(receipts),
                .enqueue = [&] { return EnqueueEach(receipts, receive); }},
               deadline);
}

Status NcclLink::Begin(const Operation& operation, NcclDeadline deadline) {
  name_ = operation.name;
  received_nbytes_ = operation.received_nbytes;
  return Run([&]() -> Status {
    if (operation.sent_nbytes > 0) {
      DCP_RETURN_IF_ERROR(
          CheckCuda(cuda(),
                    cuda().memcpy_htod_async(buffer_, host_,
                                             operation.sent_nbytes, stream_),
                    "cuMemcpyHtoDAsync"));
    }
    DCP_RETURN_IF_ERROR(
        CheckNccl(api(), api().group_start(), "ncclGroupStart", comm_));
    const NcclResult enqueued = operation.enqueue();
    const NcclResult ended = api().group_end();
    DCP_RETURN_IF_ERROR(CheckNccl(api(), enqueued, operation.name, comm_));
    DCP_RETURN_IF_ERROR(CheckNccl(api(), ended, operation.name, comm_));
    DCP_RETURN_IF_ERROR(Settle(comm_, operation.name, deadline));
    return CheckCuda(cuda(), cuda().event_record(event_, stream_),
                     "cuEventRecord");
  });
}

Status NcclLink::Finish(NcclDeadline deadline) {
  return Run([&]() -> Status {
    DCP_RETURN_IF_ERROR(AwaitStream(name_, deadline));
    return received_nbytes_ > 0 ? Fetch(received_nbytes_) : absl::OkStatus();
  });
}

Status NcclLink::Fetch(size_t nbytes) {
  return parts_.contexts->Run(device_, [&]() -> Status {
    const Clock::TimePoint deadline = parts_.clock->Now() + kAbortPatience;
    if (!is_open()) {
      DCP_RETURN_IF_ERROR(AwaitStream("ncclCommAbort", deadline));
    }
    DCP_RETURN_IF_ERROR(CheckCuda(
        cuda(), cuda().memcpy_dtoh_async(host_, buffer_, nbytes, stream_),
        "cuMemcpyDtoHAsync"));
    return CheckCuda(cuda(), cuda().stream_synchronize(stream_),
                     "cuStreamSynchronize");
  });
}

Status NcclLink::Check() {
  return Run([this] { return IsSettled(comm_, "NCCL").status(); });
}

Status NcclLink::AwaitStream(const char* what, NcclDeadline deadline) {
  const auto has_passed = [this, what]() -> StatusOr<bool> {
    const CuResult result = cuda().event_query(event_);
    if (result == 0) return true;
    if (result != kCuNotReady) return CheckCuda(cuda(), result, "cuEventQuery");
    if (is_open()) DCP_RETURN_IF_ERROR(IsSettled(comm_, what).status());
    return false;
  };
  return PollUntil(has_passed, what, deadline);
}

Status NcclLink::Settle(NcclComm comm, const char* call,
                        NcclDeadline deadline) {
  return PollUntil([=, this] { return IsSettled(comm, call); }, call, deadline);
}

StatusOr<bool> NcclLink::IsSettled(NcclComm comm, const char* call) {
  NcclResult state = kNcclSuccess;
  DCP_RETURN_IF_ERROR(CheckNccl(api(), api().comm_get_async_error(comm, &state),
                                "ncclCommGetAsyncError", comm));
  DCP_RETURN_IF_ERROR(CheckNccl(api(), state, call, comm));
  return state == kNcclSuccess;
}

Status NcclLink::PollUntil(const std::function<StatusOr<bool>()>& done,
                           const char* what, NcclDeadline deadline) {
  PollPause pause(*parts_.clock);
  for (;;) {
    DCP_ASSIGN_OR_RETURN(const bool is_done, done());
    if (is_done) return absl::OkStatus();
    if (deadline && parts_.clock->Now() >= *deadline) {
      return MakeStatus(absl::StatusCode::kDeadlineExceeded,
                        std::string(what) + " was not done in time");
    }
    pause.Take();
  }
}

void NcclLink::Abort() {
  if (!is_open()) return;
  const NcclComm comm = std::exchange(comm_, nullptr);
  // What led here was seen, and nothing more is asked of the communicator.
  (void)parts_.contexts->Run(device_, [&] {
    api().comm_abort(comm);
    return absl::OkStatus();
  });
}

void NcclLink::Close(NcclDeadline deadline) {
  const Status finalized = Run([&]() -> Status {
    DCP_RETURN_IF_ERROR(CheckNccl(api(), api().comm_finalize(comm_),
                                  "ncclCommFinalize", comm_));
    DCP_RETURN_IF_ERROR(Settle(comm_, "ncclCommFinalize", deadline));
    const NcclComm comm = std::exchange(comm_, nullptr);
    return CheckNccl(api(), api().comm_destroy(comm), "ncclCommDestroy", comm);
  });
  finalized.IgnoreError();  // then it was aborted
}

}  // namespace dcp
