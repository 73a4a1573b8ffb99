#include "mapping/axis_view.h"

#include <algorithm>
#include <string>
#include <utility>

namespace dcp {
namespace {

using Factors = std::vector<AxisFactor>;

int64_t SizeOf(const Factors& factors) {
  int64_t size = 1;
  for (const AxisFactor& factor : factors) size *= factor.size;
  return size;
}

/// Cuts the inner `size` off `*factor`, which is a multiple of it.
AxisFactor CutInner(int64_t size, AxisFactor* factor) {
  const AxisFactor inner{
      .size = size, .dim = factor->dim, .step = factor->step};
  factor->size /= size;
  factor->step *= size;
  return inner;
}

/// Takes factors of the product `size` from the inner end of `*factors`.
StatusOr<Factors> TakeInner(int64_t size, Factors* factors) {
  Factors taken;
  while (size > 1) {
    AxisFactor& last = factors->back();
    if (size % last.size == 0) {
      size /= last.size;
      taken.push_back(last);
      factors->pop_back();
    } else if (last.size % size == 0) {
      taken.push_back(CutInner(size, &last));
      size = 1;
    } else {
      return InvalidArgument("a dimension of " + std::to_string(last.size) +
                             " cannot be divided at " + std::to_string(size));
    }
  }
  std::reverse(taken.begin(), taken.end());
  return taken;
}

/// An axis that steps through both tensors; the steps of the target are > 0.
void AddAxis(const AxisFactor& source, const AxisFactor& target,
             MappedPart* part) {
  const int64_t last = source.size - 1;
  MappedAxis axis{.size = source.size,
                  .source_dim = source.dim,
                  .source_step = source.step,
                  .target_dim = target.dim,
                  .target_step = target.step};
  if (axis.target_step < 0) {
    part->source_offsets[axis.source_dim] += last * axis.source_step;
    part->target_offsets[axis.target_dim] += last * axis.target_step;
    axis.source_step = -axis.source_step;
    axis.target_step = -axis.target_step;
  }
  part->axes.push_back(axis);
}

/// The axes of one dimension, the outermost first.
Status MatchFactors(Factors source, Factors target, MappedPart* part) {
  const size_t first = part->axes.size();
  while (!source.empty() && !target.empty()) {
    AxisFactor& s = source.back();
    AxisFactor& t = target.back();
    const int64_t size = std::min(s.size, t.size);
    if (s.size % size != 0 || t.size % size != 0) {
      return InvalidArgument("dimensions of " + std::to_string(s.size) +
                             " and " + std::to_string(t.size) +
                             " do not fit each other");
    }
    if (size > 1) AddAxis(CutInner(size, &s), CutInner(size, &t), part);
    if (s.size == 1) source.pop_back();
    if (t.size == 1) target.pop_back();
  }
  std::reverse(part->axes.begin() + static_cast<std::ptrdiff_t>(first),
               part->axes.end());
  return absl::OkStatus();
}

/// Makes one of neighbours that step as one.
void MergeAxes(std::vector<MappedAxis>* axes) {
  std::vector<MappedAxis> merged;
  for (const MappedAxis& inner : *axes) {
    if (!merged.empty()) {
      MappedAxis& outer = merged.back();
      if (outer.source_dim == inner.source_dim &&
          outer.target_dim == inner.target_dim &&
          outer.source_step == inner.source_step * inner.size &&
          outer.target_step == inner.target_step * inner.size) {
        const int64_t size = outer.size * inner.size;
        outer = inner;
        outer.size = size;
        continue;
      }
    }
    merged.push_back(inner);
  }
  *axes = std::move(merged);
}

}  // namespace

AxisView::AxisView(const Dims& sizes)
    : offsets_(Dims::Filled(sizes.size(), 0)) {
  for (int d = 0; d < sizes.size(); ++d) {
    dims_.push_back({{.size = sizes[d], .dim = d}});
  }
}

Dims AxisView::sizes() const {
  Dims sizes;
  for (const Factors& factors : dims_) sizes.push_back(SizeOf(factors));
  return sizes;
}

void AxisView::Transpose(int a, int b) {
  std::swap(dims_[static_cast<size_t>(a)], dims_[static_cast<size_t>(b)]);
}

Status AxisView::Regroup(int dim, int count, const Dims& sizes) {
  const auto begin = dims_.begin() + dim;
  const auto end = begin + count;
  Factors all;
  for (auto d = begin; d != end; ++d) {
    all.insert(all.end(), d->begin(), d->end());
  }
  std::vector<Factors> grouped(static_cast<size_t>(sizes.size()));
  for (int i = sizes.size() - 1; i >= 0; --i) {
    DCP_ASSIGN_OR_RETURN(grouped[static_cast<size_t>(i)],
                         TakeInner(sizes[i], &all));
  }
  dims_.insert(dims_.erase(begin, end), grouped.begin(), grouped.end());
  return absl::OkStatus();
}

Status AxisView::SwapHalves(int dim) {
  const int64_t size = SizeOf(dims_[static_cast<size_t>(dim)]);
  if (size % 2 != 0) {
    return InvalidArgument("a dimension of " + std::to_string(size) +
                           " has no halves");
  }
  DCP_RETURN_IF_ERROR(Regroup(dim, 1, {2, size / 2}));
  AxisFactor& halves = dims_[static_cast<size_t>(dim)][0];
  offsets_[halves.dim] += halves.step;
  halves.step = -halves.step;
  return Regroup(dim, 2, {size});
}

Status AxisView::PairHalves(int64_t heads) {
  const int64_t rows = dims_.empty() ? 0 : SizeOf(dims_[0]);
  if (rows == 0 || rows % heads != 0 || rows / heads % 2 != 0) {
    return InvalidArgument(std::to_string(rows) + " rows are not those of " +
                           std::to_string(heads) + " heads");
  }
  DCP_RETURN_IF_ERROR(Regroup(0, 1, {heads, 2, rows / heads / 2}));
  Transpose(1, 2);
  return Regroup(0, 3, {rows});
}

Status AxisView::Narrow(int dim, int64_t begin, int64_t size) {
  Factors& factors = dims_[static_cast<size_t>(dim)];
  int64_t inner = SizeOf(factors);
  for (auto factor = factors.begin(); factor != factors.end();) {
    inner /= factor->size;
    const int64_t index = begin / inner;
    if (begin % inner == 0 && size % inner == 0) {
      offsets_[factor->dim] += index * factor->step;
      factor->size = size / inner;
      return absl::OkStatus();
    }
    if (index != (begin + size - 1) / inner) {
      return InvalidArgument("a part of " + std::to_string(size) + " at " +
                             std::to_string(begin) + " is cut across");
    }
    offsets_[factor->dim] += index * factor->step;
    begin -= index * inner;
    factor = factors.erase(factor);
  }
  return absl::OkStatus();
}

void AxisView::AddDim() { dims_.insert(dims_.begin(), Factors()); }

StatusOr<MappedPart> MatchViews(const AxisView& source,
                                const AxisView& target) {
  if (source.sizes() != target.sizes()) {
    return InvalidArgument("the shapes " + ToString(source.sizes()) + " and " +
                           ToString(target.sizes()) + " differ");
  }
  MappedPart part{.source_offsets = source.offsets(),
                  .target_offsets = target.offsets()};
  for (size_t d = 0; d < source.dims().size(); ++d) {
    DCP_RETURN_IF_ERROR(
        MatchFactors(source.dims()[d], target.dims()[d], &part));
  }
  MergeAxes(&part.axes);
  return part;
}

}  // namespace dcp
