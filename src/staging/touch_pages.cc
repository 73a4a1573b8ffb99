#include "staging/touch_pages.h"

#include <algorithm>

#include "base/round_up.h"
#include "staging/huge_pages.h"
#include "staging/threads.h"

namespace dcp {

void TouchPages(std::span<std::byte> memory, int threads) {
  const auto count = static_cast<size_t>(std::max(threads, 1));
  const size_t share = RoundUpTo(memory.size() / count + 1, kHugePage);
  RunOnThreads(count, [&](size_t thread) {
    const size_t end = std::min(memory.size(), (thread + 1) * share);
    for (size_t at = thread * share; at < end; at += kPageSize) {
      memory[at] = std::byte{0};
    }
  });
}

}  // namespace dcp
