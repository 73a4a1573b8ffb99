// StagedState: what a rank saves, copied to host memory while the trainer goes
// on. An asynchronous save is this, and then Save.
//
//   auto staged = dcp::StagedState::Begin(std::move(entries), owner, {});
//   ... a step's forward and backward; in another thread, Save(staged, ...)
//   (*staged)->WaitStaged();   // before the tensors change
//
// Most callers want AsyncSave (async_save.h), which has the other thread.

#ifndef DCP_STAGING_H_
#define DCP_STAGING_H_

#include <cstdint>
#include <memory>
#include <optional>
#include <vector>

#include "dcp/checkpoint.h"
#include "dcp/clock.h"
#include "dcp/device_runtime.h"
#include "dcp/saver.h"
#include "dcp/status.h"
#include "dcp/storage.h"
#include "dcp/tensor_view.h"
#include "dcp/trace.h"
#include "dcp/transport.h"

namespace dcp {

struct StagingOptions {
  /// Upper bound of the host memory of all states of this process that are
  /// alive together. Without one it is `memory_share` of what can be had
  /// without swapping when the state is made, an eighth of it left alone: what
  /// the machine has available, or the process's control group, if that is
  /// less. What does not fit is streamed: it is read from the caller's memory
  /// when it is written, first of all, and WaitStaged waits for that.
  std::optional<int64_t> max_nbytes;
  /// From 0 to 1; 1/n where n ranks of a job share the machine.
  double memory_share = 1.0;
  /// Threads that copy; 0: as many as there are cores, 4 at most.
  int threads = 0;
  /// Learns of every copy; may be null.
  std::shared_ptr<Trace> trace;
  /// Saves the state in the place of threads of this process: Save gives it
  /// all that it needs, and waits for its result. `max_nbytes` is for the
  /// memory that is shared with it, and it reads nothing else: where a rank's
  /// state does not fit, all ranks save in threads, and WaitHandedOver says so.
  /// A storage that is not dcp's own, on files, fails the save. May be null.
  std::shared_ptr<Saver> saver;
  /// Pins the memory that devices copy to; where that fails, or without it, the
  /// copies are several times as slow. It stays pinned for the next state.
  bool pins_memory = true;
  /// Bytes in a second that devices copy to host memory for this state, so that
  /// the trainer's own copies have room; 0: as many as they can. What is
  /// streamed counts in pieces of 64 MiB, or a tensor if that is larger.
  int64_t max_copy_rate = 0;
  CopyMethod copy_method = CopyMethod::kBatched;
  /// The caller is about to wait for the copies: nothing is written, except
  /// what is streamed, until those of host memory are complete. Else writing
  /// begins with the first copies, and takes processors and memory bandwidth
  /// from the others.
  bool copies_first = false;
};

/// The entries of one rank and their data, for one save.
///
/// It never talks to other ranks. Memory that it no longer needs goes to the
/// next one of this process. Thread-safe. Destroying it ends what it does; a
/// forked child can only destroy it.
class StagedState {
 public:
  /// Starts to copy the tensors of `entries` and returns at once. Devices copy
  /// on streams of their own, what is in their memory when the work is done
  /// that the tensors' streams have at this moment.
  ///
  /// `keep_alive` (may be null) owns their memory, and that of encoded tensors;
  /// it is let go in some other thread, as soon as nothing reads it any more.
  /// `device` is only asked for if tensors are not on the CPU; null: the CUDA
  /// runtime.
  ///
  /// A state that fits the limit only when others are gone is copied then;
  /// unless it is saved before: then it is streamed. So is one for which the
  /// system has no memory or no thread.
  /// \error kResourceExhausted  there is no memory for the entries themselves
  static StatusOr<std::shared_ptr<StagedState>> Begin(
      std::vector<SaveEntry> entries, std::shared_ptr<void> keep_alive,
      const StagingOptions& options,
      std::shared_ptr<DeviceRuntime> device = nullptr);

  virtual ~StagedState() = default;
  StagedState(const StagedState&) = delete;
  StagedState& operator=(const StagedState&) = delete;

  /// Waits until nothing reads the caller's tensors any more: they may change
  /// after it returns anything but kDeadlineExceeded. Where tensors are
  /// streamed, that is when the save has written them, or failed.
  /// \error kDeadlineExceeded  `timeout` is over
  /// \error others  a copy failed, a device's for example; the save of this
  ///     state fails as well, on all ranks
  virtual Status WaitStaged(
      std::optional<Clock::Duration> timeout = std::nullopt) = 0;
  /// Whether WaitStaged would return at once.
  virtual bool is_staged() const = 0;

  /// With a saver: waits until those of all ranks have what the save needs:
  /// from then on it is carried through, whichever trainers are killed.
  /// \error kDeadlineExceeded  `timeout` is over
  /// \error kResourceExhausted  a rank's state does not fit the memory that it
  ///     shares with its saver: all ranks save in threads, which end with them
  /// \error kFailedPrecondition  there is no saver, or it will not have it: see
  ///     the save's own result
  virtual Status WaitHandedOver(
      std::optional<Clock::Duration> timeout = std::nullopt) = 0;

  /// Bytes of tensors in memory, however often they are named by entries.
  virtual int64_t nbytes() const = 0;
  /// How many of these are copied so far.
  virtual int64_t nbytes_staged() const = 0;
  /// How many are streamed instead; known when staging begins, else 0.
  virtual int64_t nbytes_streamed() const = 0;

  /// Why devices copy to memory that is not pinned, if they do although they
  /// should, or why an earlier state's memory was not unpinned; known when the
  /// state is staged.
  virtual Status pin_status() const = 0;

  /// For a save that will not come, or is not wanted any more: ends the
  /// copying, and lets memory go. A save that is under way fails on all ranks,
  /// with kFailedPrecondition, unless its ranks have met to commit.
  virtual void Cancel() = 0;

 private:
  friend class StagedEntries;  // there is no other
  StagedState() = default;
};

/// Saves a staged state as the Save of its entries would, errors included, and
/// may begin while it is being staged. Only once: its memory is gone
/// afterwards.
///
/// A rank that could not make its state passes its error in its place.
StatusOr<SaveResult> Save(const StatusOr<std::shared_ptr<StagedState>>& staged,
                          StorageWriter& writer, Transport& transport,
                          const SaveOptions& options);

/// Takes memory for states of `nbytes` ahead, so that the first one finds it as
/// later ones do: memory that was never touched may take longer to come than to
/// fill. No more than the limit leaves. If the states are on a device, `device`
/// (else the CPU) says which, and the memory is pinned for it.
/// \error kResourceExhausted  the system has no memory
Status PrewarmStaging(int64_t nbytes, const StagingOptions& options,
                      Device device = {});

/// Gives the memory that no state uses back to the system; a saver has its own.
void ReleaseStagingMemory();

/// Host memory that this process has for staged states, used or not.
int64_t StagingMemoryNbytes();

}  // namespace dcp

#endif  // DCP_STAGING_H_
