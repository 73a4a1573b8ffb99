// GappedTensor: a stored tensor whose elements fill no run of bytes.

#ifndef DCP_STORAGE_GAPPED_TENSOR_H_
#define DCP_STORAGE_GAPPED_TENSOR_H_

#include <cstddef>
#include <cstdint>
#include <functional>
#include <utility>
#include <vector>

#include "dcp/file_system.h"
#include "dcp/status.h"
#include "dcp/tensor_view.h"
#include "format/tensor_pickle.h"

namespace dcp {

/// Reads boxes of a view of a storage: one with gaps, or an expanded tensor.
///
/// A box is read from its first element to its last one and copied by strides;
/// one that spans more than 16 MiB is halved before.
class GappedTensor {
 public:
  /// All outlive the object. The storage begins at `storage_offset` of `file`;
  /// it was checked that `tensor` lies within it. `proceed` is asked between
  /// reads.
  GappedTensor(File& file, int64_t storage_offset, const TensorPickle& tensor,
               std::function<Status()> proceed)
      : file_(file),
        storage_offset_(storage_offset),
        tensor_(tensor),
        proceed_(std::move(proceed)) {}

  /// Elements `box` into `destination`, which is in host memory, has the sizes
  /// of the box, and a dtype to which those of the tensor can be cast.
  Status Read(const Box& box, const TensorView& destination);

  int64_t nbytes_read() const { return nbytes_read_; }

 private:
  Status ReadHalves(const Box& box, const TensorView& destination);
  Status ReadSpan(const Box& box, int64_t nbytes,
                  const TensorView& destination);

  File& file_;
  const int64_t storage_offset_;
  const TensorPickle& tensor_;
  const std::function<Status()> proceed_;
  std::vector<std::byte> span_;
  std::vector<std::byte> gathered_;
  int64_t nbytes_read_ = 0;
};

/// What the values of `tensor` still need.
ElementOp OpOf(const TensorPickle& tensor);

}  // namespace dcp

#endif  // DCP_STORAGE_GAPPED_TENSOR_H_
