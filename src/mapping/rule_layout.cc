#include "mapping/rule_layout.h"

#include <iterator>
#include <limits>
#include <optional>
#include <string>
#include <utility>

#include "base/cast.h"
#include "mapping/axis_view.h"

namespace dcp {
namespace {

/// Of what is stacked: a larger size is no number of experts.
constexpr int64_t kMaxStacked = 1 << 16;

class RuleLayout {
 public:
  RuleLayout(const MappingRule& rule, size_t side, const ModelNumbers& numbers)
      : rule_(rule),
        numbers_(numbers),
        many_(rule.sides[rule.many()]),
        one_(rule.sides[1 - rule.many()]),
        target_(rule.sides[1 - side]) {}

  /// One tensor of one.
  StatusOr<MappedTensor> Rename(const RuleSource& source) const {
    const bool is_many = &target_ == &many_;
    const RuleSide& from = is_many ? one_ : many_;
    const Dims& sizes = source.tensor->sizes;
    DCP_ASSIGN_OR_RETURN(const Dims form,
                         SizesAfter(from.steps, sizes, numbers_));
    DCP_ASSIGN_OR_RETURN(MappedTensor tensor, Target(source, target_, form));
    if (Numel(sizes) == 0) return tensor;
    DCP_ASSIGN_OR_RETURN(const AxisView source_view,
                         ViewAfter(from.steps, sizes, numbers_));
    DCP_ASSIGN_OR_RETURN(const AxisView view,
                         ViewAfter(target_.steps, tensor.sizes, numbers_));
    DCP_RETURN_IF_ERROR(AddPart(source, source_view, view, &tensor));
    return tensor;
  }

  /// One tensor of several.
  StatusOr<MappedTensor> Join(std::span<const RuleSource> sources) const {
    DCP_RETURN_IF_ERROR(CheckCount(std::ssize(sources)));
    std::vector<Dims> forms;
    for (const RuleSource& source : sources) {
      DCP_ASSIGN_OR_RETURN(Dims form, FormOfOne(source.tensor->sizes));
      forms.push_back(std::move(form));
    }
    DCP_ASSIGN_OR_RETURN(const int dim, DimOf(rule_.concat, forms[0].size()));
    DCP_ASSIGN_OR_RETURN(const Dims whole, Joined(forms, dim));
    DCP_ASSIGN_OR_RETURN(MappedTensor tensor, Target(sources[0], one_, whole));
    DCP_RETURN_IF_ERROR(CheckExtents(sources, forms, whole, dim));
    int64_t begin = 0;
    for (size_t i = 0; i < sources.size(); ++i) {
      const MappingSource& source = *sources[i].tensor;
      if (source.dtype != sources[0].tensor->dtype) {
        return InvalidArgument(source.name + " has not the dtype of " +
                               sources[0].tensor->name);
      }
      const int64_t size = forms[i][dim];
      if (Numel(source.sizes) > 0) {
        DCP_ASSIGN_OR_RETURN(const AxisView part, ViewOfOne(source.sizes));
        DCP_ASSIGN_OR_RETURN(AxisView view,
                             ViewAfter(one_.steps, tensor.sizes, numbers_));
        DCP_RETURN_IF_ERROR(view.Narrow(dim, begin, size));
        DCP_RETURN_IF_ERROR(AddPart(sources[i], part, view, &tensor));
      }
      begin += size;
    }
    return tensor;
  }

  /// Several tensors of one.
  StatusOr<std::vector<MappedTensor>> Split(const RuleSource& source) const {
    const Dims& sizes = source.tensor->sizes;
    DCP_ASSIGN_OR_RETURN(const Dims whole,
                         SizesAfter(one_.steps, sizes, numbers_));
    DCP_ASSIGN_OR_RETURN(const int dim, DimOf(rule_.concat, whole.size()));
    DCP_RETURN_IF_ERROR(CheckCount(whole[dim]));
    DCP_ASSIGN_OR_RETURN(const std::vector<int64_t> extents,
                         ExtentsOf(whole[dim]));
    std::vector<MappedTensor> tensors;
    int64_t begin = 0;
    for (const int64_t size : extents) {
      Dims form = whole;
      form[dim] = size;
      DCP_ASSIGN_OR_RETURN(MappedTensor tensor, Target(source, many_, form));
      if (Numel(form) > 0) {
        DCP_ASSIGN_OR_RETURN(AxisView part,
                             ViewAfter(one_.steps, sizes, numbers_));
        DCP_RETURN_IF_ERROR(part.Narrow(dim, begin, size));
        DCP_ASSIGN_OR_RETURN(const AxisView view, ViewOfOne(tensor.sizes));
        DCP_RETURN_IF_ERROR(AddPart(source, part, view, &tensor));
      }
      tensors.push_back(std::move(tensor));
      begin += size;
    }
    return tensors;
  }

 private:
  bool is_stacked() const { return !rule_.stack.empty(); }

  /// Whether the model has `count` of what is stacked, as far as is known.
  Status CheckCount(int64_t count) const {
    if (rule_.count.empty() || !rule_.count[0].IsKnown(numbers_)) {
      return absl::OkStatus();
    }
    DCP_ASSIGN_OR_RETURN(const int64_t expected,
                         rule_.count[0].ValueOf(numbers_));
    if (count == expected) return absl::OkStatus();
    return InvalidArgument(
        "there are " + std::to_string(count) + " of what the model has " +
        std::to_string(expected) + " of ({" + rule_.stack + "})");
  }

  /// One of several in the common form, in which it has one stacked index.
  StatusOr<Dims> FormOfOne(const Dims& sizes) const {
    DCP_ASSIGN_OR_RETURN(Dims form, SizesAfter(many_.steps, sizes, numbers_));
    if (!is_stacked()) return form;
    Dims stacked{1};
    for (const int64_t size : form) stacked.push_back(size);
    return stacked;
  }

  StatusOr<AxisView> ViewOfOne(const Dims& sizes) const {
    DCP_ASSIGN_OR_RETURN(AxisView view,
                         ViewAfter(many_.steps, sizes, numbers_));
    if (is_stacked()) view.AddDim();
    return view;
  }

  static StatusOr<Dims> Joined(const std::vector<Dims>& forms, int dim) {
    Dims whole = forms[0];
    for (size_t i = 1; i < forms.size(); ++i) {
      Dims expected = whole;
      expected[dim] = forms[i].size() == whole.size() ? forms[i][dim] : 0;
      if (forms[i] != expected ||
          __builtin_add_overflow(whole[dim], expected[dim], &whole[dim])) {
        return InvalidArgument("parts of the shapes " + ToString(forms[0]) +
                               " and " + ToString(forms[i]) +
                               " cannot be joined");
      }
    }
    return whole;
  }

  /// The sizes along the dimension in which `total` is divided.
  StatusOr<std::vector<int64_t>> ExtentsOf(int64_t total) const {
    if (is_stacked() && total <= kMaxStacked) {
      return std::vector<int64_t>(static_cast<size_t>(total), 1);
    }
    if (is_stacked()) {
      return InvalidArgument("a size of " + std::to_string(total) +
                             " is more than can be stacked");
    }
    if (!rule_.sizes.empty()) return ResolveSum(rule_.sizes, total, numbers_);
    const auto count = static_cast<int64_t>(many_.names.size());
    if (total % count == 0) {
      return std::vector<int64_t>(many_.names.size(), total / count);
    }
    return InvalidArgument("a size of " + std::to_string(total) +
                           " cannot be divided by " + std::to_string(count));
  }

  /// Whether `forms`, which make up `whole`, are what it would be divided into.
  Status CheckExtents(std::span<const RuleSource> sources,
                      const std::vector<Dims>& forms, const Dims& whole,
                      int dim) const {
    if (is_stacked()) return absl::OkStatus();
    DCP_ASSIGN_OR_RETURN(const std::vector<int64_t> extents,
                         ExtentsOf(whole[dim]));
    for (size_t i = 0; i < forms.size(); ++i) {
      if (forms[i][dim] == extents[i]) continue;
      return InvalidArgument(
          sources[i].tensor->name + " has " + std::to_string(forms[i][dim]) +
          " of the " + std::to_string(whole[dim]) + " that are joined, not " +
          std::to_string(extents[i]) + " as the rule says");
    }
    return absl::OkStatus();
  }

  /// A tensor of `side` that has the common form `form`, without parts.
  StatusOr<MappedTensor> Target(const RuleSource& source, const RuleSide& side,
                                const Dims& form) const {
    const bool loses_index = is_stacked() && &side == &many_;
    const Dims kept = loses_index ? Dims(form.span().subspan(1)) : form;
    MappedTensor tensor{.dtype = side.cast.value_or(source.tensor->dtype)};
    if (!CanCast(source.tensor->dtype, tensor.dtype)) {
      return InvalidArgument(
          "the dtype " + std::string(DTypeName(source.tensor->dtype)) +
          " cannot become " + std::string(DTypeName(tensor.dtype)));
    }
    DCP_ASSIGN_OR_RETURN(tensor.sizes, SizesBefore(side.steps, kept, numbers_));
    if (tensor.sizes.size() > Dims::kMaxDims) {
      return InvalidArgument("a tensor of " +
                             std::to_string(tensor.sizes.size()) +
                             " dimensions is more than torch takes, which is " +
                             std::to_string(Dims::kMaxDims));
    }
    const std::optional<int64_t> numel = CheckedNumel(tensor.sizes);
    if (!numel ||
        *numel > std::numeric_limits<int64_t>::max() / ItemSize(tensor.dtype)) {
      return InvalidArgument("a tensor of " + ToString(tensor.sizes) +
                             " is too large");
    }
    return tensor;
  }

  static Status AddPart(const RuleSource& source, const AxisView& from,
                        const AxisView& to, MappedTensor* tensor) {
    DCP_ASSIGN_OR_RETURN(MappedPart part, MatchViews(from, to));
    part.source = source.position;
    tensor->parts.push_back(std::move(part));
    return absl::OkStatus();
  }

  const MappingRule& rule_;
  const ModelNumbers& numbers_;
  const RuleSide& many_;
  const RuleSide& one_;
  const RuleSide& target_;
};

}  // namespace

StatusOr<std::vector<MappedTensor>> LayOut(const MappingRule& rule, size_t side,
                                           std::span<const RuleSource> sources,
                                           const ModelNumbers& numbers) {
  const RuleLayout layout(rule, side, numbers);
  const bool is_one_to_one =
      rule.stack.empty() && rule.sides[rule.many()].names.size() == 1;
  if (!is_one_to_one && side != rule.many()) return layout.Split(sources[0]);
  StatusOr<MappedTensor> tensor =
      is_one_to_one ? layout.Rename(sources[0]) : layout.Join(sources);
  DCP_RETURN_IF_ERROR(tensor.status());
  return std::vector<MappedTensor>{*std::move(tensor)};
}

}  // namespace dcp
