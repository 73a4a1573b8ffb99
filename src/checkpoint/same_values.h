// Whether two tensors of a checkpoint are one.

#ifndef DCP_CHECKPOINT_SAME_VALUES_H_
#define DCP_CHECKPOINT_SAME_VALUES_H_

#include <string_view>

#include "dcp/status.h"
#include "dcp/storage.h"

namespace dcp {

/// Whether the tensors `a` and `b` of `index`, which `reader` was set up with,
/// have one dtype and shape, and the same bytes. Both are read if they have one
/// form, one after the other and a few pieces ahead.
/// \error kUnimplemented  a tensor that only torch can decode
StatusOr<bool> HoldSameValues(const CheckpointIndex& index,
                              StorageReader& reader, std::string_view a,
                              std::string_view b);

}  // namespace dcp

#endif  // DCP_CHECKPOINT_SAME_VALUES_H_
