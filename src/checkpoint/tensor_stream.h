// TensorStream: tensors of a checkpoint, read ahead of who looks at them.

#ifndef DCP_CHECKPOINT_TENSOR_STREAM_H_
#define DCP_CHECKPOINT_TENSOR_STREAM_H_

#include <cstddef>
#include <cstdint>
#include <span>
#include <string>
#include <string_view>
#include <vector>

#include "checkpoint/piece_reader.h"
#include "checkpoint/read_ahead.h"
#include "dcp/status.h"
#include "dcp/storage.h"

namespace dcp {

/// One thread at a time.
class TensorStream {
 public:
  /// Bytes to look at together: a multiple of the size of every item.
  static constexpr int64_t kStepNbytes = int64_t{1} << 20;

  /// Of `index`, which `reader` was set up with; both outlive the object.
  /// `keys` are tensors, in the order in which they will be asked for, as they
  /// are stored.
  TensorStream(const CheckpointIndex& index, StorageReader& reader,
               std::span<const std::string_view> keys);

  /// Begins to read.
  Status Start() { return ahead_.Start(); }

  /// Whether tensor `number` of the keys is one that only torch can decode.
  bool IsEncoded(size_t number) const { return tensors_[number].is_encoded; }

  /// Its bytes from `byte_begin` on, each once.
  Status Read(size_t number, int64_t byte_begin, std::span<std::byte> out) {
    return ahead_.Read(number, byte_begin, out);
  }

  /// For what is not streamed.
  PieceReader& pieces() { return pieces_; }

 private:
  std::vector<SourceTensor> tensors_;
  PieceReader pieces_;
  ReadAhead ahead_;
};

}  // namespace dcp

#endif  // DCP_CHECKPOINT_TENSOR_STREAM_H_
