#include "checkpoint/check_view.h"

#include <string>

namespace dcp {

Status CheckView(std::string_view fqn, const TensorView& view) {
  if (view.strides.size() != view.sizes.size()) {
    return InvalidArgument("the tensor " + std::string(fqn) +
                           " has the sizes " + ToString(view.sizes) +
                           " and the strides " + ToString(view.strides));
  }
  if (view.data == nullptr && CheckedNumel(view.sizes) != int64_t{0}) {
    return InvalidArgument("the tensor " + std::string(fqn) + " of shape " +
                           ToString(view.sizes) + " has no memory");
  }
  return absl::OkStatus();
}

}  // namespace dcp
