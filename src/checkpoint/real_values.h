// The elements of a stored tensor as float64, for who looks at its numbers.

#ifndef DCP_CHECKPOINT_REAL_VALUES_H_
#define DCP_CHECKPOINT_REAL_VALUES_H_

#include <functional>
#include <span>
#include <string_view>

#include "checkpoint/opened_path.h"
#include "dcp/metadata.h"
#include "dcp/status.h"

namespace dcp {

/// Reads the tensor `fqn` once and bit by bit, and calls `visit` for some
/// thousand elements at a time, which it may change, in row-major order. False
/// counts as 0, true as 1. To be called once of `opened`.
/// \error kNotFound  no such tensor (KeyNotFound)
/// \error kUnimplemented  not a tensor of real numbers
StatusOr<const TensorStorageMetadata*> VisitRealValues(
    OpenedPath& opened, std::string_view fqn,
    const std::function<void(std::span<double>)>& visit);

}  // namespace dcp

#endif  // DCP_CHECKPOINT_REAL_VALUES_H_
