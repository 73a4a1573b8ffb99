// The memory of elements that a mapping moves.

#ifndef DCP_CHECKPOINT_MAPPED_VIEW_H_
#define DCP_CHECKPOINT_MAPPED_VIEW_H_

#include "dcp/mapping.h"
#include "dcp/tensor_view.h"

namespace dcp {

/// The elements of `read.box`, in its order, in `view`: the memory of the box
/// that the other fields of `read` are about.
TensorView MappedView(const MappedRead& read, const TensorView& view);

}  // namespace dcp

#endif  // DCP_CHECKPOINT_MAPPED_VIEW_H_
