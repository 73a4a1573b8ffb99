// AxisView: a tensor in another shape, as a way to find its elements.

#ifndef DCP_MAPPING_AXIS_VIEW_H_
#define DCP_MAPPING_AXIS_VIEW_H_

#include <cstdint>
#include <vector>

#include "dcp/dims.h"
#include "dcp/mapping.h"
#include "dcp/status.h"

namespace dcp {

/// An index of 0 <= i < size that adds i * step to the index along `dim` of the
/// tensor.
struct AxisFactor {
  int64_t size = 1;
  int dim = 0;
  int64_t step = 1;
};

/// A dimension of a view is a list of factors, the outermost first: its index
/// is theirs in row-major order. Operations return kInvalidArgument where no
/// such view is what they ask for. For tensors that have elements.
class AxisView {
 public:
  /// A tensor of `sizes` as it is.
  explicit AxisView(const Dims& sizes);

  int ndim() const { return static_cast<int>(dims_.size()); }
  Dims sizes() const;
  /// Where the element lies whose indices in the view are all 0.
  const Dims& offsets() const { return offsets_; }
  const std::vector<std::vector<AxisFactor>>& dims() const { return dims_; }

  void Transpose(int a, int b);
  /// Dimensions [dim, dim + count) become those of `sizes`.
  Status Regroup(int dim, int count, const Dims& sizes);
  /// Exchanges the first and the second half of `dim`.
  Status SwapHalves(int dim);
  /// The rows, dimension 0, of each of `heads` heads: from halves to pairs (row
  /// i of both halves, then row i + 1).
  Status PairHalves(int64_t heads);
  /// Keeps indices [begin, begin + size) of `dim`.
  Status Narrow(int dim, int64_t begin, int64_t size);
  /// Adds a first dimension, of size 1.
  void AddDim();

 private:
  using Factors = std::vector<AxisFactor>;

  Dims offsets_;
  std::vector<Factors> dims_;
};

/// The elements of the tensor behind `source` as those of the tensor behind
/// `target`: both have the same sizes.
/// \error kInvalidArgument  they cannot be matched by steps
StatusOr<MappedPart> MatchViews(const AxisView& source, const AxisView& target);

}  // namespace dcp

#endif  // DCP_MAPPING_AXIS_VIEW_H_
