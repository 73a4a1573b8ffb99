// PieceReader: parts of stored tensors, read into memory.

#ifndef DCP_CHECKPOINT_PIECE_READER_H_
#define DCP_CHECKPOINT_PIECE_READER_H_

#include <cstddef>
#include <cstdint>
#include <functional>
#include <optional>
#include <span>
#include <string>
#include <string_view>
#include <utility>
#include <vector>

#include "absl/base/thread_annotations.h"
#include "base/mutex.h"
#include "dcp/metadata.h"
#include "dcp/storage.h"

namespace dcp {

/// A stored tensor, and the dtype in which it is wanted.
struct SourceTensor {
  std::string_view fqn;
  const TensorStorageMetadata* stored = nullptr;
  DType dtype = DType::kFloat32;
  /// A smaller piece would cost as much to read: that much is stored as one.
  int64_t unit_nbytes = 0;
  /// Quantized: it is stored as an object, and not read in pieces.
  bool is_encoded = false;
  /// Another name of a tensor that is stored once, under that: it is not read.
  bool is_alias = false;
  /// The only part that is wanted, of whole rows; nullopt: all of it.
  std::optional<Box> part;

  Box box() const { return part.value_or(WholeBox(stored->size)); }
  int64_t nbytes() const { return box().numel() * ItemSize(dtype); }
};

/// The error of a tensor that is stored in a form that only torch can rebuild.
Status NeedsTorch(const std::string& fqn);

/// Elements `box` of `tensor`, row-major at `memory`.
struct PieceRead {
  const SourceTensor* tensor = nullptr;
  Box box;
  std::byte* memory = nullptr;
};

/// Reads from a checkpoint that was set up. Thread-safe: the reader serves one
/// call at a time.
class PieceReader {
 public:
  /// `reader` outlives the object. `proceed` is asked while something is read,
  /// and its error ends the reading; may be empty.
  PieceReader(StorageReader& reader, std::function<Status()> proceed)
      : reader_(reader), proceed_(std::move(proceed)) {}

  /// Reads all pieces, converted to the dtypes that are wanted.
  /// \error kUnimplemented  only torch can rebuild one of the tensors
  Status Read(std::span<const PieceRead> pieces);

  /// The objects `keys`, as torch.save made them.
  StatusOr<std::vector<std::string>> ReadObjects(
      std::span<const std::string_view> keys);

  /// A stored chunk of a tensor that only torch can decode, likewise.
  StatusOr<std::string> ReadEncoded(const MetadataIndex& index,
                                    const Dims& sizes);

 private:
  StatusOr<std::vector<std::string>> ReadItems(const LoadPlan& plan);
  Status ReadPlan(const LoadPlan& plan, ReadTarget& target);

  Mutex mutex_;
  StorageReader& reader_ ABSL_GUARDED_BY(mutex_);
  const std::function<Status()> proceed_;
};

}  // namespace dcp

#endif  // DCP_CHECKPOINT_PIECE_READER_H_
