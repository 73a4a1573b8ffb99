// What of a SharedLayout concerns each rank: its chunks, its extents, and what
// meets these.

#ifndef DCP_STORAGE_SHARED_DIVISION_H_
#define DCP_STORAGE_SHARED_DIVISION_H_

#include <cstddef>
#include <vector>

#include "storage/shared_layout.h"
#include "storage/shared_part.h"

namespace dcp {

/// By rank: the files that it is told of, by their places in `layout.files`.
/// All of them, but none of another rank's own.
std::vector<std::vector<size_t>> FilesOfRanks(const SharedLayout& layout,
                                              size_t world_size);

/// What each rank needs to know of `layout`: its files (FilesOfRanks), without
/// paths and names; no addresses.
std::vector<SharedPart> PartsOfRanks(const SharedLayout& layout,
                                     size_t world_size);

}  // namespace dcp

#endif  // DCP_STORAGE_SHARED_DIVISION_H_
