// NcclLink: a communicator of libdcp's own, and what it takes to talk over it.

#ifndef DCP_NCCL_NCCL_LINK_H_
#define DCP_NCCL_NCCL_LINK_H_

#include <cstddef>
#include <functional>
#include <memory>
#include <optional>
#include <span>

#include "dcp/clock.h"
#include "dcp/status.h"
#include "device/cuda_contexts.h"
#include "nccl/nccl_api.h"

namespace dcp {

/// When a wait is given up; none: never.
using NcclDeadline = std::optional<Clock::TimePoint>;

/// Bytes of the buffer, between this rank and another.
struct NcclTransfer {
  int peer = 0;
  size_t offset = 0;
  size_t nbytes = 0;
};

/// One operation at a time, begun by Begin... and ended by Finish, moves bytes
/// of a buffer of fixed size: what is to go is put into host(), and what has
/// come is there after Finish. One thread at a time.
///
/// Waiting polls. Any error of NCCL or CUDA, and a deadline, aborts the
/// communicator: nothing but Fetch may be called then.
class NcclLink {
 public:
  static constexpr size_t kBufferNbytes = size_t{4} << 20;

  struct Parts {
    NcclApi api;
    std::shared_ptr<CudaContexts> contexts;
    std::shared_ptr<Clock> clock;
  };

  /// Splits `trainer`, with all of its ranks.
  static StatusOr<std::unique_ptr<NcclLink>> Split(Parts parts,
                                                   NcclComm trainer,
                                                   NcclDeadline deadline);
  NcclLink(const NcclLink&) = delete;
  NcclLink& operator=(const NcclLink&) = delete;
  /// Aborts what was not closed.
  ~NcclLink();

  int rank() const { return rank_; }
  int size() const { return size_; }
  /// Where messages lie on this side.
  std::span<char> host() const { return {host_, kBufferNbytes}; }

  /// Every rank's `nbytes`, which lie at rank * nbytes, go to every rank.
  Status BeginAllGather(size_t nbytes, NcclDeadline deadline);
  /// The first `nbytes` of rank 0 go to every rank.
  Status BeginBroadcast(size_t nbytes, NcclDeadline deadline);
  /// At most one transfer a peer, by ascending offset.
  Status BeginSends(std::span<const NcclTransfer> sends, NcclDeadline deadline);
  Status BeginReceipts(std::span<const NcclTransfer> receipts,
                       NcclDeadline deadline);
  /// \error kDeadlineExceeded  the operation goes on
  /// \error kAborted  another rank, or the way to it, is gone
  Status Finish(NcclDeadline deadline);
  /// Whether NCCL has noticed an error since.
  Status Check();

  bool is_open() const { return comm_ != nullptr; }
  /// Copies the buffer's first `nbytes` to host(), also of an operation that
  /// was aborted.
  Status Fetch(size_t nbytes);
  void Abort();
  /// Ends the communicator, which all ranks do now; aborts it if they do not.
  void Close(NcclDeadline deadline);

 private:
  explicit NcclLink(Parts parts) : parts_(std::move(parts)) {}

  /// Bytes of the buffer, from its beginning.
  struct Operation {
    const char* name = nullptr;
    size_t sent_nbytes = 0;
    size_t received_nbytes = 0;
    std::function<NcclResult()> enqueue;
  };

  const NcclApi& api() const { return parts_.api; }
  const CudaDriverApi& cuda() const { return parts_.contexts->api(); }
  void* device_at(size_t offset) const;
  /// Runs `body` in the device's context; its error aborts.
  Status Run(const std::function<Status()>& body);
  Status Begin(const Operation& operation, NcclDeadline deadline);

  // With the context current:
  Status SplitFrom(NcclComm trainer, NcclDeadline deadline);
  Status MakeBuffers();
  /// Waits until NCCL has done what it was asked for, and is to be asked again.
  Status Settle(NcclComm comm, const char* call, NcclDeadline deadline);
  StatusOr<bool> IsSettled(NcclComm comm, const char* call);
  Status AwaitStream(const char* what, NcclDeadline deadline);
  Status PollUntil(const std::function<StatusOr<bool>()>& done,
                   const char* what, NcclDeadline deadline);

  const Parts parts_;
  Device device_{.type = DeviceType::kCuda};
  int rank_ = 0;
  int size_ = 1;
  NcclComm comm_ = nullptr;
  CuStream stream_ = nullptr;
  CuEvent event_ = nullptr;
  CuDevicePtr buffer_ = 0;
  char* host_ = nullptr;
  // Of the operation that is under way:
  const char* name_ = "";
  size_t received_nbytes_ = 0;
};

}  // namespace dcp

#endif  // DCP_NCCL_NCCL_LINK_H_
