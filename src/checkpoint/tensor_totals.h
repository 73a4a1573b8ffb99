// TensorTotals: how many tensors a checkpoint has, and how large they are.

#ifndef DCP_CHECKPOINT_TENSOR_TOTALS_H_
#define DCP_CHECKPOINT_TENSOR_TOTALS_H_

#include <cstdint>
#include <map>
#include <string>
#include <string_view>
#include <vector>

#include "dcp/describe.h"
#include "dcp/dims.h"
#include "dcp/dtype.h"
#include "dcp/status.h"

namespace dcp {

/// The error of metadata by which `what` would be larger than int64 can say.
Status ImpossiblyLarge(const std::string& what);

/// `nbytes`, which is not negative, more for `sum`; false if int64 cannot hold
/// that.
bool AddNbytes(int64_t nbytes, int64_t* sum);

/// Used once, by one thread.
class TensorTotals {
 public:
  /// Counts a tensor, and returns the bytes of its elements. `fqn` outlives the
  /// totals.
  /// \error kDataLoss  it, or all of them, would have 2^63 bytes or more
  StatusOr<int64_t> Add(std::string_view fqn, DType dtype, const Dims& shape);

  /// Sets what a description says of all tensors.
  void MoveTo(CheckpointDescription* about) &&;

 private:
  using Totals = std::map<std::string_view, TensorTotal>;

  static void LargestFirst(const Totals& totals,
                           std::vector<TensorTotal>* sorted);

  TensorTotal all_;
  Totals by_dtype_;
  Totals by_module_;  // a module is what keys begin with, up to a dot
};

}  // namespace dcp

#endif  // DCP_CHECKPOINT_TENSOR_TOTALS_H_
