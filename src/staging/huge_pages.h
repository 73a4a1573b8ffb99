// MapHugePages: anonymous memory for buffers, as all of libdcp's lies.

#ifndef DCP_STAGING_HUGE_PAGES_H_
#define DCP_STAGING_HUGE_PAGES_H_

#include <cstddef>
#include <span>

#include "dcp/status.h"

namespace dcp {

/// What is mapped, touched and pinned is whole pages.
inline constexpr size_t kPageSize = 4096;

/// The kernel backs only whole, aligned ranges of this size by one huge page.
inline constexpr size_t kHugePage = size_t{2} << 20;

/// `nbytes` of zeros, aligned to kHugePage, that huge pages may back. Whoever
/// has it gives whole pages of it back with munmap.
///
/// Not inherited by forked children: a child that touched a page while the
/// kernel transfers it would break the transfer (open(2), NOTES on O_DIRECT).
/// \error kResourceExhausted  no memory
StatusOr<std::span<std::byte>> MapHugePages(size_t nbytes);

}  // namespace dcp

#endif  // DCP_STAGING_HUGE_PAGES_H_
