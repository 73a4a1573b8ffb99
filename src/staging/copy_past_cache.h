// CopyPastCache: memcpy of what nobody will read soon.

#ifndef DCP_STAGING_COPY_PAST_CACHE_H_
#define DCP_STAGING_COPY_PAST_CACHE_H_

#include <cstddef>

namespace dcp {

/// Copies `nbytes`, which do not overlap, and leaves the caches to the trainer
/// where the processor can: the lines that are written are neither fetched
/// before nor kept. 2 GiB on one core took 0.64 of memcpy's time, on two 0.46
/// (memcpy on two: 0.66).
///
/// What was written is there for every thread that this one synchronizes with.
void CopyPastCache(std::byte* to, const std::byte* from, size_t nbytes);

}  // namespace dcp

#endif  // DCP_STAGING_COPY_PAST_CACHE_H_
