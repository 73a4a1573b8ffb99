// Casts written with vector instructions, for the conversions that training
// does by the gigabyte.

#ifndef DCP_BASE_VECTOR_CAST_H_
#define DCP_BASE_VECTOR_CAST_H_

#include <cstddef>
#include <cstdint>

#include "dcp/dtype.h"

namespace dcp {

/// Converts `count` elements; see CastElements.
using CastFunction = void(const std::byte* src, std::byte* dst, int64_t count);

/// A faster equivalent of the portable cast that this CPU can run, or nullptr.
CastFunction* FindVectorCast(DType from, DType to);

}  // namespace dcp

#endif  // DCP_BASE_VECTOR_CAST_H_
