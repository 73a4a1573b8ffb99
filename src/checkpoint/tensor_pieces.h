// TensorPieces: a large tensor, cut into parts that lie in one run.

#ifndef DCP_CHECKPOINT_TENSOR_PIECES_H_
#define DCP_CHECKPOINT_TENSOR_PIECES_H_

#include <cstdint>
#include <vector>

#include "dcp/dims.h"

namespace dcp {

/// Boxes that make up a tensor of `sizes`, in row-major order. Each is one run
/// of the tensor's row-major elements, of `max_nbytes` at most, unless a single
/// element is larger. One box, the whole, for a tensor without elements.
///
/// Cuts lie between rows where a row fits, else between what rows consist of.
std::vector<Box> CutIntoPieces(const Dims& sizes, int64_t itemsize,
                               int64_t max_nbytes);

}  // namespace dcp

#endif  // DCP_CHECKPOINT_TENSOR_PIECES_H_
