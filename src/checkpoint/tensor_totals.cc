#include "checkpoint/tensor_totals.h"

#include <algorithm>
#include <limits>
#include <optional>
#include <vector>

namespace dcp {
namespace {

constexpr int64_t kMax = std::numeric_limits<int64_t>::max();

}  // namespace

Status ImpossiblyLarge(const std::string& what) {
  return DataLoss("the metadata is damaged: " + what +
                  " would have 2^63 bytes or more");
}

bool AddNbytes(int64_t nbytes, int64_t* sum) {
  if (nbytes > kMax - *sum) return false;
  *sum += nbytes;
  return true;
}

StatusOr<int64_t> TensorTotals::Add(std::string_view fqn, DType dtype,
                                    const Dims& shape) {
  const std::optional<int64_t> elements = CheckedNumel(shape);
  if (!elements || *elements > kMax / ItemSize(dtype)) {
    return ImpossiblyLarge("the tensor " + std::string(fqn));
  }
  const int64_t nbytes = *elements * ItemSize(dtype);
  // An element has at least a byte, so there are no more of these.
  if (nbytes > kMax - all_.nbytes) return ImpossiblyLarge("all tensors");
  const std::string_view module = fqn.substr(0, fqn.find('.'));
  for (TensorTotal* total :
       {&all_, &by_dtype_[DTypeName(dtype)], &by_module_[module]}) {
    ++total->tensors;
    total->elements += *elements;
    total->nbytes += nbytes;
  }
  return nbytes;
}

void TensorTotals::LargestFirst(const Totals& totals,
                                std::vector<TensorTotal>* sorted) {
  for (const auto& [name, total] : totals) {
    sorted->push_back(total);
    sorted->back().name = name;
  }
  std::stable_sort(sorted->begin(), sorted->end(),
                   [](const TensorTotal& a, const TensorTotal& b) {
                     return a.nbytes > b.nbytes;
                   });
}

void TensorTotals::MoveTo(CheckpointDescription* about) && {
  about->tensor_count = all_.tensors;
  about->elements = all_.elements;
  about->nbytes = all_.nbytes;
  LargestFirst(by_dtype_, &about->by_dtype);
  LargestFirst(by_module_, &about->by_module);
}

}  // namespace dcp
