// ReadAhead: the bytes of many stored tensors, one after the other, read by a
// thread while somebody takes them.

#ifndef DCP_CHECKPOINT_READ_AHEAD_H_
#define DCP_CHECKPOINT_READ_AHEAD_H_

#include <atomic>
#include <cstddef>
#include <cstdint>
#include <span>
#include <thread>
#include <vector>

#include "absl/base/thread_annotations.h"
#include "base/mutex.h"
#include "checkpoint/piece_reader.h"
#include "staging/aligned_buffer.h"

namespace dcp {

struct ReadAheadOptions {
  /// Read at once, and the largest piece of a tensor.
  int64_t batch_nbytes = int64_t{64} << 20;
  /// In memory at once, as long as bytes are taken in order.
  int64_t max_nbytes = int64_t{256} << 20;
};

/// Thread-safe.
class ReadAhead {
 public:
  /// `tensors` and `reader` outlive the object. Nothing is read before Start.
  ReadAhead(std::span<const SourceTensor> tensors, PieceReader& reader,
            ReadAheadOptions options);
  ReadAhead(const ReadAhead&) = delete;
  ReadAhead& operator=(const ReadAhead&) = delete;
  ~ReadAhead();

  Status Start();

  /// Fills `out` with the bytes from `byte_begin` on of tensor number `tensor`;
  /// waits for them. Every byte may be taken once. Out of order it works, and
  /// takes more memory.
  Status Read(size_t tensor, int64_t byte_begin, std::span<std::byte> out);
  /// Ends the reading: every Read fails from now on.
  void Cancel();
  /// Not OK after Cancel. For PieceReader's `proceed`.
  Status Proceed() const;

  int64_t nbytes_taken() const { return nbytes_taken_; }

 private:
  /// One run of a tensor's bytes, which lies in one batch.
  struct Piece {
    size_t tensor = 0;
    Box box;
    int64_t begin = 0;  // in the tensor
    int64_t nbytes = 0;
    size_t batch = 0;
    int64_t place = 0;  // in the batch's buffer
  };
  /// Pieces [first, last), read at once.
  struct Batch {
    size_t first = 0;
    size_t last = 0;
    int64_t nbytes = 0;  // of the buffer
    int64_t nbytes_left = 0;
    bool is_ready = false;
    AlignedBuffer buffer;
  };

  void AddPiece(size_t tensor, const Box& box, int64_t begin);
  const Piece& PieceAt(size_t tensor, int64_t byte) const;
  void Run();
  Status ReadBatch(size_t number);
  StatusOr<AlignedBuffer> AwaitRoom(size_t number);
  Status AwaitBatch(size_t number);
  void Took(size_t batch, int64_t nbytes);

  const std::span<const SourceTensor> tensors_;
  PieceReader& reader_;
  const ReadAheadOptions options_;
  std::vector<Piece> pieces_;
  std::vector<size_t> first_pieces_;  // by tensor, and the end
  std::atomic<int64_t> nbytes_taken_{0};
  std::atomic<bool> cancelled_{false};

  Mutex mutex_;
  CondVar changed_;
  /// Members of a batch that is ready, but for nbytes_left, do not change until
  /// all of it was taken.
  std::vector<Batch> batches_;
  std::vector<AlignedBuffer> free_ ABSL_GUARDED_BY(mutex_);
  int64_t nbytes_held_ ABSL_GUARDED_BY(mutex_) = 0;
  size_t wanted_end_ ABSL_GUARDED_BY(mutex_) = 0;  // batches somebody waits for
  Status status_ ABSL_GUARDED_BY(mutex_);
  std::thread thread_;
};

}  // namespace dcp

#endif  // DCP_CHECKPOINT_READ_AHEAD_H_
