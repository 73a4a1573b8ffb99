// Columns of numbers, as small as their regularity allows.

#ifndef DCP_FORMAT_INDEXED_COLUMNS_H_
#define DCP_FORMAT_INDEXED_COLUMNS_H_

#include <cstdint>
#include <span>

#include "base/wire.h"

namespace dcp {

/// The most values that a column has.
inline constexpr size_t kMaxColumnValues = 256;

/// Appends 1 to kMaxColumnValues values: as a line, if each is as far from the
/// last one as the second from the first, else with as many bits as the
/// largest one is above the smallest.
void PutColumn(std::span<const int64_t> values, WireWriter* out);

/// Fills `values` with what PutColumn wrote for as many. Fails `in` if that is
/// not there.
void GetColumn(WireReader* in, std::span<int64_t> values);

}  // namespace dcp

#endif  // DCP_FORMAT_INDEXED_COLUMNS_H_
