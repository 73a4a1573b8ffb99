// StagedSource: the data of a staged state, as far as it is there.

#ifndef DCP_CHECKPOINT_STAGED_SOURCE_H_
#define DCP_CHECKPOINT_STAGED_SOURCE_H_

#include <atomic>
#include <cstddef>
#include <cstdint>
#include <thread>
#include <vector>

#include "absl/base/thread_annotations.h"
#include "base/mutex.h"
#include "checkpoint/staged_state.h"
#include "dcp/storage.h"

namespace dcp {

/// The WriteSource of one save. Made in the thread that calls WriteData, which
/// alone may ask the transport.
class StagedSource final : public WriteSource {
 public:
  StagedSource(StagedEntries& staged, Transport& transport,
               std::shared_ptr<Trace> trace)
      : staged_(staged), transport_(transport), trace_(std::move(trace)) {}
  StagedSource(const StagedSource&) = delete;
  StagedSource& operator=(const StagedSource&) = delete;
  /// Nothing that was resolved is read any more.
  ~StagedSource() override;

  /// Waits until it is known which items of `plan` are streamed, and puts these
  /// first. Where that fails, so does every Resolve: a storage may have ranks
  /// to tell that wait for this one.
  Status Begin(SavePlan& plan);

  StatusOr<WritePayload> Resolve(const WriteItem& item) override;
  void ReadLater() override { reads_later_ = true; }
  Status AwaitRead(int64_t nbytes) override;
  bool JoinsBatch(const WriteItem& item) override;
  void Release() override;
  Status Proceed() override;
  std::shared_ptr<Trace> trace() const override { return trace_; }

 private:
  /// What was resolved since the last Release.
  struct Batch {
    int64_t nbytes = 0;
    bool has_streamed = false;
  };

  /// Asks the transport, if this is its thread.
  Status Ask();
  bool IsStreamed(const WriteItem& item);
  void NoteResolved(const WriteItem& item);

  StagedEntries& staged_;
  Transport& transport_;
  const std::shared_ptr<Trace> trace_;
  const std::thread::id thread_ = std::this_thread::get_id();
  bool has_begun_ = false;
  std::atomic<bool> reads_later_{false};
  Status begun_;  // does not change after Begin
  /// Resolve tells of it; the storage may then tell others, which Proceed must
  /// not end.
  std::atomic<bool> has_failed_{false};
  Mutex mutex_;
  Batch batch_ ABSL_GUARDED_BY(mutex_);
  /// By entry: streamed, and not resolved yet.
  std::vector<bool> to_stream_ ABSL_GUARDED_BY(mutex_);
  size_t to_stream_count_ ABSL_GUARDED_BY(mutex_) = 0;
};

}  // namespace dcp

#endif  // DCP_CHECKPOINT_STAGED_SOURCE_H_
