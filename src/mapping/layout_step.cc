#include "mapping/layout_step.h"

#include <optional>
#include <string>
#include <utility>

namespace dcp {
namespace {

/// Dimensions [dim, dim + from.size()) of `sizes`, which have the sizes `from`,
/// become `to`.
StatusOr<Dims> Replaced(const Dims& sizes, int dim,
                        std::span<const NumberExpr> from,
                        std::span<const NumberExpr> to,
                        const ModelNumbers& numbers) {
  const int end = dim + static_cast<int>(from.size());
  if (end > sizes.size()) {
    return InvalidArgument("the shape " + ToString(sizes) +
                           " has too few dimensions for a reshape");
  }
  const Dims old(sizes.span().subspan(static_cast<size_t>(dim), from.size()));
  const std::optional<int64_t> numel = CheckedNumel(old);
  if (!numel) {
    return InvalidArgument("the sizes " + ToString(old) + " are too large");
  }
  DCP_ASSIGN_OR_RETURN(const Dims expected,
                       ResolveProduct(from, *numel, numbers));
  if (old != expected) {
    return InvalidArgument("the sizes " + ToString(old) + " are not " +
                           ToString(expected) + ", which are reshaped");
  }
  DCP_ASSIGN_OR_RETURN(const Dims resolved,
                       ResolveProduct(to, *numel, numbers));
  Dims replaced(sizes.span().first(static_cast<size_t>(dim)));
  for (const int64_t size : resolved) replaced.push_back(size);
  for (int d = end; d < sizes.size(); ++d) replaced.push_back(sizes[d]);
  return replaced;
}

/// Sizes after a step that is no reshape; its inverse gives the same.
StatusOr<Dims> Exchanged(const LayoutStep& step, Dims sizes) {
  if (step.kind != LayoutStep::Kind::kTranspose) return sizes;
  DCP_ASSIGN_OR_RETURN(const int a, DimOf(step.dim, sizes.size()));
  DCP_ASSIGN_OR_RETURN(const int b, DimOf(step.other_dim, sizes.size()));
  std::swap(sizes[a], sizes[b]);
  return sizes;
}

StatusOr<Dims> SizesAfterStep(const LayoutStep& step, Dims sizes,
                              const ModelNumbers& numbers) {
  if (step.kind != LayoutStep::Kind::kReshape) {
    return Exchanged(step, std::move(sizes));
  }
  return Replaced(sizes, step.dim, step.from, step.to, numbers);
}

Status ApplyReshape(const LayoutStep& step, const ModelNumbers& numbers,
                    AxisView* view) {
  const Dims sizes = view->sizes();
  DCP_ASSIGN_OR_RETURN(const Dims after,
                       Replaced(sizes, step.dim, step.from, step.to, numbers));
  const Dims group(
      after.span().subspan(static_cast<size_t>(step.dim), step.to.size()));
  return view->Regroup(step.dim, static_cast<int>(step.from.size()), group);
}

Status Apply(const LayoutStep& step, const ModelNumbers& numbers,
             AxisView* view) {
  switch (step.kind) {
    case LayoutStep::Kind::kTranspose: {
      DCP_ASSIGN_OR_RETURN(const int a, DimOf(step.dim, view->ndim()));
      DCP_ASSIGN_OR_RETURN(const int b, DimOf(step.other_dim, view->ndim()));
      view->Transpose(a, b);
      return absl::OkStatus();
    }
    case LayoutStep::Kind::kReshape:
      return ApplyReshape(step, numbers, view);
    case LayoutStep::Kind::kSwapHalves: {
      DCP_ASSIGN_OR_RETURN(const int dim, DimOf(step.dim, view->ndim()));
      return view->SwapHalves(dim);
    }
    case LayoutStep::Kind::kPermuteHeads: {
      DCP_ASSIGN_OR_RETURN(const int64_t heads, step.heads[0].ValueOf(numbers));
      return view->PairHalves(heads);
    }
  }
  return Internal("a layout step of no kind");
}

}  // namespace

StatusOr<int> DimOf(int dim, int ndim) {
  const int found = dim < 0 ? dim + ndim : dim;
  if (found >= 0 && found < ndim) return found;
  return InvalidArgument("a tensor of " + std::to_string(ndim) +
                         " dimension(s) has no dimension " +
                         std::to_string(dim));
}

StatusOr<Dims> SizesAfter(std::span<const LayoutStep> steps, Dims sizes,
                          const ModelNumbers& numbers) {
  for (const LayoutStep& step : steps) {
    DCP_ASSIGN_OR_RETURN(sizes,
                         SizesAfterStep(step, std::move(sizes), numbers));
  }
  return sizes;
}

StatusOr<Dims> SizesBefore(std::span<const LayoutStep> steps, Dims sizes,
                           const ModelNumbers& numbers) {
  for (size_t i = steps.size(); i-- > 0;) {
    LayoutStep inverse = steps[i];
    std::swap(inverse.from, inverse.to);
    DCP_ASSIGN_OR_RETURN(sizes,
                         SizesAfterStep(inverse, std::move(sizes), numbers));
  }
  return sizes;
}

StatusOr<AxisView> ViewAfter(std::span<const LayoutStep> steps,
                             const Dims& sizes, const ModelNumbers& numbers) {
  AxisView view(sizes);
  for (const LayoutStep& step : steps) {
    DCP_RETURN_IF_ERROR(Apply(step, numbers, &view));
  }
  return view;
}

}  // namespace dcp
