// Which rank writes which bytes of files that several ranks write.

#ifndef DCP_PLAN_SHARED_FILES_H_
#define DCP_PLAN_SHARED_FILES_H_

#include <cstdint>
#include <span>
#include <vector>

#include "dcp/dims.h"

namespace dcp {

/// A tensor that lies whole and row-major in a file.
struct SharedTensor {
  int64_t begin = 0;  ///< file offset in bytes
  Dims sizes;
  int64_t itemsize = 1;
};

/// A box of a tensor that one rank has. The boxes of a tensor cover it once.
struct SharedChunk {
  size_t tensor = 0;
  Box box;
  int rank = 0;
};

/// Bytes [begin, end) of the file, which `owner` writes.
struct OwnedExtent {
  int64_t begin = 0;
  int64_t end = 0;
  int owner = 0;
  bool operator==(const OwnedExtent&) const = default;
};

struct ExtentOptions {
  /// Extents begin at multiples of it: no two ranks write to one page, or one
  /// stripe.
  int64_t alignment = 4096;
  /// Runs of fewer bytes are put together, and the rank that has most of them
  /// writes them all.
  int64_t min_nbytes = int64_t{1} << 20;
};

/// Assigns the bytes [0, file_nbytes) of one file.
///
/// What lies in long runs is written by who has it; ranks exchange what is
/// left: the edges of runs, short runs, and of a tensor that is cut across its
/// rows what does not belong to the rank that writes those rows. Of such a
/// tensor each rank writes as much as it has.
/// \param tensors  in file order
/// \param load     bytes that each rank writes so far; is counted up
std::vector<OwnedExtent> AssignExtents(int64_t file_nbytes,
                                       std::span<const SharedTensor> tensors,
                                       std::span<const SharedChunk> chunks,
                                       const ExtentOptions& options,
                                       std::vector<int64_t>* load);

}  // namespace dcp

#endif  // DCP_PLAN_SHARED_FILES_H_
