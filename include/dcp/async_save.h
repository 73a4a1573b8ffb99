// AsyncSave: a save beside the training.
//
//   auto save = dcp::AsyncSave("/ckpt/step-100", std::move(entries));
//   ... forward, backward ...
//   dcp::Status staged = save->WaitStaged();   // before the tensors change
//   ... optimizer step, further steps ...
//   dcp::StatusOr<dcp::SaveResult> saved = save->Wait();

#ifndef DCP_ASYNC_SAVE_H_
#define DCP_ASYNC_SAVE_H_

#include <cstdint>
#include <memory>
#include <optional>
#include <string>
#include <vector>

#include "dcp/checkpoint.h"
#include "dcp/clock.h"
#include "dcp/device_runtime.h"
#include "dcp/staging.h"
#include "dcp/status.h"
#include "dcp/storage.h"
#include "dcp/transport.h"

namespace dcp {

/// Where a save goes and whom it talks to. Both are its own while it lasts.
struct AsyncSaveTarget {
  std::shared_ptr<StorageWriter> writer;
  std::shared_ptr<Transport> transport;
};

struct AsyncSaveOptions {
  SaveOptions save;
  /// With a saver in it, another process saves, and goes on if this one is
  /// killed.
  StagingOptions staging;
  /// Copies tensors that are not on the CPU; null: the CUDA runtime.
  std::shared_ptr<DeviceRuntime> device;
};

struct AsyncSaveProgress {
  int64_t nbytes = 0;         ///< of the tensors of this rank
  int64_t nbytes_staged = 0;  ///< copied so far
  int64_t nbytes_streamed =
      0;                   ///< written from where they are (StagingOptions)
  bool is_staged = false;  ///< the tensors may change
  bool is_handed_over = false;  ///< a saver has it (StagingOptions::saver)
  bool is_done = false;         ///< Wait would return at once
};

/// A save that is under way, or its result. Thread-safe. A forked child can
/// only destroy it, and does not wait for the save then.
class AsyncSaveHandle {
 public:
  /// Waits for the save, whose result is lost if nobody asked for it.
  ~AsyncSaveHandle();
  AsyncSaveHandle(const AsyncSaveHandle&) = delete;
  AsyncSaveHandle& operator=(const AsyncSaveHandle&) = delete;

  /// As StagedState::WaitStaged.
  Status WaitStaged(std::optional<Clock::Duration> timeout = std::nullopt);
  /// As StagedState::WaitHandedOver: with a saver, the save goes on from then
  /// on, even if all trainers are killed.
  Status WaitHandedOver(std::optional<Clock::Duration> timeout = std::nullopt);
  /// The save's result; may be asked for again.
  /// \error kDeadlineExceeded  it is not there after `timeout`
  /// \error kCancelled  it was cancelled, here or on another rank
  /// \error kFailedPrecondition  this is a forked child
  StatusOr<SaveResult> Wait(
      std::optional<Clock::Duration> timeout = std::nullopt);
  AsyncSaveProgress progress() const;

  /// Ends the save as soon as that goes, on all ranks, which remove what they
  /// wrote; the checkpoint that was there before stands. A save whose ranks
  /// have met to commit is carried through. Wait tells which it was.
  void Cancel();

 private:
  friend std::unique_ptr<AsyncSaveHandle> AsyncSave(
      StatusOr<std::vector<SaveEntry>> entries,
      std::shared_ptr<void> keep_alive, AsyncSaveTarget target,
      const AsyncSaveOptions& options);
  class Operation;

  explicit AsyncSaveHandle(std::unique_ptr<Operation> operation);

  std::unique_ptr<Operation> operation_;
};

/// Starts to save what Save would, and returns at once. Collective over the
/// transport, as the save in the background is.
///
/// `keep_alive` (may be null) owns the memory of tensors and is let go, in some
/// other thread, when that is read. A rank that could not make its entries
/// passes its error in their place. Where the system has no thread to give,
/// this call carries the save out.
std::unique_ptr<AsyncSaveHandle> AsyncSave(
    StatusOr<std::vector<SaveEntry>> entries, std::shared_ptr<void> keep_alive,
    AsyncSaveTarget target, const AsyncSaveOptions& options = {});

/// One process, native format, defaults. The caller owns the tensors, and keeps
/// them until WaitStaged has returned.
std::unique_ptr<AsyncSaveHandle> AsyncSave(const std::string& path,
                                           std::vector<SaveEntry> entries);

}  // namespace dcp

#endif  // DCP_ASYNC_SAVE_H_
