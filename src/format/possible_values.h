// Which numbers of a tensor, of its chunks and of their places are possible:
// what every reader of metadata checks.

#ifndef DCP_FORMAT_POSSIBLE_VALUES_H_
#define DCP_FORMAT_POSSIBLE_VALUES_H_

#include "dcp/dims.h"
#include "dcp/dtype.h"
#include "dcp/metadata.h"

namespace dcp {

/// Whether the elements and the bytes of a tensor can be counted.
bool IsPossibleSize(const Dims& size, DType dtype);

/// Whether `chunk` lies within a tensor of `size`. One without elements may lie
/// at any place (ranks that hold nothing), as long as the numbers can be added.
bool IsPossibleChunk(const Dims& size, const Box& chunk);

/// Whether the item's bytes have a begin and an end.
bool IsPossiblePlace(const StorageInfo& place);

}  // namespace dcp

#endif  // DCP_FORMAT_POSSIBLE_VALUES_H_
