// Conversion of array elements between dtypes, as torch's copy_ does it.

#ifndef DCP_BASE_CAST_H_
#define DCP_BASE_CAST_H_

#include <cstddef>
#include <cstdint>

#include "dcp/dtype.h"

namespace dcp {

/// Whether elements of `from` convert to `to`: all pairs of floating-point,
/// integer, bool and complex types; of the other types each only to itself.
bool CanCast(DType from, DType to);

/// Converts `count` elements with the results of torch's copy_ on an x86-64
/// CPU (torch 2.13). `src` and `dst` need no alignment and do not overlap.
///
/// Needs CanCast(from, to). Narrowing rounds to nearest even and goes through
/// float32 for the formats below it; complex to real drops the imaginary part.
/// Where torch's own result depends on its code path, this is fixed here:
/// - float16 NaNs keep the leading bits of their payload and their sign, other
///   NaNs become the format's quiet NaN;
/// - a value that the integer type `to` cannot hold becomes what the x86-64
///   instructions give on every platform: the low bits of the int32 (for int8,
///   int16, uint16) or int64 (for uint8, uint32) that the value truncates to,
///   and of the least int32 or int64 if that cannot hold it either. Such is a
///   NaN, but those of float8_e4m3fnuz, _e5m2fnuz and _e8m0fnu become 0.
void CastElements(DType from, const std::byte* src, DType to, std::byte* dst,
                  int64_t count);

/// Whether some value of `from` is not kept by the cast to `to`: it loses
/// precision, range, sign or its imaginary part. That a NaN stays a NaN counts
/// as kept.
bool IsLossyCast(DType from, DType to);

}  // namespace dcp

#endif  // DCP_BASE_CAST_H_
