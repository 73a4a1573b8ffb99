#include "staging/copy_past_cache.h"

#include <algorithm>
#include <cstdint>
#include <cstring>

#if defined(__SSE2__)
#include <emmintrin.h>
#endif

namespace dcp {

#if defined(__SSE2__)
namespace {

// Less than this fits the cache of any core, and costs less there.
constexpr size_t kMinPastCache = size_t{16} << 10;
constexpr size_t kLine = 64;

/// Whole lines to aligned memory.
void StreamLines(std::byte* to, const std::byte* from, size_t nbytes) {
  for (size_t at = 0; at < nbytes; at += kLine) {
    const auto* const source = reinterpret_cast<const __m128i*>(from + at);
    auto* const target = reinterpret_cast<__m128i*>(to + at);
    const __m128i a = _mm_loadu_si128(source);
    const __m128i b = _mm_loadu_si128(source + 1);
    const __m128i c = _mm_loadu_si128(source + 2);
    const __m128i d = _mm_loadu_si128(source + 3);
    _mm_stream_si128(target, a);
    _mm_stream_si128(target + 1, b);
    _mm_stream_si128(target + 2, c);
    _mm_stream_si128(target + 3, d);
  }
  // Such stores are not ordered by what orders others, a mutex for one.
  _mm_sfence();
}

}  // namespace

void CopyPastCache(std::byte* to, const std::byte* from, size_t nbytes) {
  if (nbytes < kMinPastCache) {
    std::memcpy(to, from, nbytes);
    return;
  }
  const size_t head = (kLine - reinterpret_cast<uintptr_t>(to) % kLine) % kLine;
  const size_t lines = (nbytes - head) / kLine * kLine;
  std::memcpy(to, from, head);
  StreamLines(to + head, from + head, lines);
  const size_t done = head + lines;
  std::memcpy(to + done, from + done, nbytes - done);
}

#else

void CopyPastCache(std::byte* to, const std::byte* from, size_t nbytes) {
  std::memcpy(to, from, nbytes);
}

#endif

}  // namespace dcp
