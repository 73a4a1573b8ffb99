// RingIoEngine: whole transfers over a ring that may do them by halves.

#ifndef DCP_IO_RING_IO_ENGINE_H_
#define DCP_IO_RING_IO_ENGINE_H_

#include <memory>
#include <optional>
#include <vector>

#include "dcp/io_engine.h"
#include "io/fixed_queue.h"
#include "io/fork_guard.h"
#include "io/ring.h"
#include "io/transfer.h"

namespace dcp {

/// One thread at a time.
class RingIoEngine final : public IoEngine {
 public:
  /// `ring` takes `queue_depth` entries at a time.
  RingIoEngine(std::unique_ptr<Ring> ring, int queue_depth);
  ~RingIoEngine() override;

  std::string_view name() const override { return "io_uring"; }
  int queue_depth() const override { return static_cast<int>(slots_.size()); }
  bool RegisterBuffer(IoSlice buffer) override;
  Status Submit(const IoRequest& request) override;
  StatusOr<IoCompletion> Wait() override;
  StatusOr<std::optional<IoCompletion>> Poll() override;

 private:
  struct Slot {
    IoRequest request;
    std::unique_ptr<Transfer> transfer;  // set while the slot is taken
    bool in_ring = false;
  };

  struct RegisteredBuffer {
    iovec memory;
    int index = 0;  // in the ring

    std::byte* begin() const {
      return static_cast<std::byte*>(memory.iov_base);
    }
    std::byte* end() const { return begin() + memory.iov_len; }
  };

  int in_flight() const;
  /// Has the transfer of a slot go on, or end with an error.
  void Start(size_t index);
  void StartOrDefer(size_t index);
  void StartDeferred();
  Status OnEvent(const RingEvent& event);
  void OnResult(size_t index, int64_t result);
  void GoOn(size_t index, int64_t result);
  void FinishInThisThread(size_t index);
  void Finish(size_t index, Status status);
  /// Takes one event, or none with kNo. Returns whether there was one.
  StatusOr<bool> Step(RingWait wait);
  int RegisteredIndex(const TransferStep& step) const;
  IoCompletion TakeFinished();

  const ForkGuard fork_guard_;
  std::vector<Slot> slots_;
  std::vector<size_t> free_;     // indices of slots
  FixedQueue<size_t> deferred_;  // slots whose entry the ring did not take
  size_t in_ring_ = 0;           // entries started and not yet answered
  FixedQueue<IoCompletion> finished_;
  std::vector<RegisteredBuffer> registered_;  // by address
  bool refused_ = false;                      // the ring takes no more buffers
  // Goes first: it waits until the kernel is done with what is above.
  const std::unique_ptr<Ring> ring_;
};

}  // namespace dcp

#endif  // DCP_IO_RING_IO_ENGINE_H_
