// LayoutStep: one change of a tensor's shape or order, by a mapping's rule.

#ifndef DCP_MAPPING_LAYOUT_STEP_H_
#define DCP_MAPPING_LAYOUT_STEP_H_

#include <cstdint>
#include <span>
#include <vector>

#include "dcp/dims.h"
#include "dcp/mapping.h"
#include "dcp/status.h"
#include "mapping/axis_view.h"
#include "mapping/number_expr.h"

namespace dcp {

struct LayoutStep {
  enum class Kind : uint8_t {
    kTranspose,     ///< exchanges dimensions `dim` and `other_dim`
    kReshape,       ///< dimensions of the sizes `from`, from `dim` on: `to`
    kSwapHalves,    ///< of `dim`
    kPermuteHeads,  ///< rows of heads from Hugging Face's halves to pairs
  };
  Kind kind = Kind::kTranspose;
  /// Below 0 they count from the last one; not of kReshape.
  int dim = 0;
  int other_dim = 0;
  std::vector<NumberExpr> from;
  std::vector<NumberExpr> to;
  std::vector<NumberExpr> heads;  ///< one, of kPermuteHeads
};

/// A tensor of `sizes`, of which no element is there where one is 0, after
/// `steps`.
/// \error kInvalidArgument  they do not apply to it; a number is missing
StatusOr<Dims> SizesAfter(std::span<const LayoutStep> steps, Dims sizes,
                          const ModelNumbers& numbers);

/// The sizes of the tensor that has `sizes` after `steps`.
/// \error kInvalidArgument  there is none; a number is missing
StatusOr<Dims> SizesBefore(std::span<const LayoutStep> steps, Dims sizes,
                           const ModelNumbers& numbers);

/// A tensor of `sizes`, with elements, after `steps`.
/// \error kInvalidArgument  as SizesAfter
StatusOr<AxisView> ViewAfter(std::span<const LayoutStep> steps,
                             const Dims& sizes, const ModelNumbers& numbers);

/// `dim`, where -1 is the last of `ndim`.
/// \error kInvalidArgument  there is no such dimension
StatusOr<int> DimOf(int dim, int ndim);

}  // namespace dcp

#endif  // DCP_MAPPING_LAYOUT_STEP_H_
