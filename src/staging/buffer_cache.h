// BufferCache: the memory of finished saves and loads, for the next ones. See
// dcp/kept_buffers.h for how much there is.
//
// A page that the process never had may have to come from far: 128 MiB took
// 0.4 to 0.7 s on a virtual machine whose host had taken free memory back, and
// 12 ms once they were there.

#ifndef DCP_STAGING_BUFFER_CACHE_H_
#define DCP_STAGING_BUFFER_CACHE_H_

#include <cstddef>
#include <cstdint>
#include <span>

namespace dcp {

/// What this process keeps at most: as much as one save has by default, and
/// some.
inline constexpr int64_t kMaxKeptNbytes = int64_t{136} << 20;
/// Smaller ones are not kept.
inline constexpr size_t kMinKeptBuffer = size_t{1} << 20;

/// One of the kept buffers, with what is in it; empty if there is none. The
/// caller owns it, and if it is too small, unmaps it. Thread-safe; a forked
/// child has none.
std::span<std::byte> TakeKeptBuffer();

/// Keeps `memory`. False: it is still the caller's, because it is too small or
/// there is no room.
bool KeepBuffer(std::span<std::byte> memory);

/// Gives buffers back to the system until at most `max_nbytes` are kept.
void TrimKeptBuffers(int64_t max_nbytes);

}  // namespace dcp

#endif  // DCP_STAGING_BUFFER_CACHE_H_
