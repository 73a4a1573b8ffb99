// What a caller's tensor must be before its memory is touched.

#ifndef DCP_CHECKPOINT_CHECK_VIEW_H_
#define DCP_CHECKPOINT_CHECK_VIEW_H_

#include <string_view>

#include "dcp/status.h"
#include "dcp/tensor_view.h"

namespace dcp {

/// \error kInvalidArgument  not one stride for each size, or elements without
///     memory; names `fqn`
Status CheckView(std::string_view fqn, const TensorView& view);

}  // namespace dcp

#endif  // DCP_CHECKPOINT_CHECK_VIEW_H_
