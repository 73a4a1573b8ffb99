// TouchPages: has the system give the pages of memory that was mapped.

#ifndef DCP_STAGING_TOUCH_PAGES_H_
#define DCP_STAGING_TOUCH_PAGES_H_

#include <cstddef>
#include <span>

namespace dcp {

/// Writes to each page of `memory`, whose bytes are lost.
void TouchPages(std::span<std::byte> memory, int threads);

}  // namespace dcp

#endif  // DCP_STAGING_TOUCH_PAGES_H_
