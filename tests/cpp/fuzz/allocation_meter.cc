#include "fuzz/allocation_meter.h"

#include <malloc.h>

#include <algorithm>
#include <atomic>
#include <cstdlib>
#include <new>

namespace dcp {
namespace {

std::atomic<size_t> live{0};
std::atomic<size_t> peak{0};
std::atomic<size_t> start{0};

/// nullptr if there is no memory.
void* TryAllocate(size_t nbytes) {
  void* memory = std::malloc(nbytes);
  if (memory == nullptr) return nullptr;
  const size_t now = live += malloc_usable_size(memory);
  size_t most = peak;
  while (now > most && !peak.compare_exchange_weak(most, now)) {
  }
  return memory;
}

void* Allocate(size_t nbytes) {
  void* memory = TryAllocate(nbytes);
  if (memory == nullptr) throw std::bad_alloc();
  return memory;
}

void Release(void* memory) {
  if (memory == nullptr) return;
  live -= malloc_usable_size(memory);
  std::free(memory);
}

}  // namespace

void ResetAllocationPeak() {
  start = live.load();
  peak = live.load();
}

size_t AllocationPeakNbytes() {
  return peak - std::min(start.load(), peak.load());
}

}  // namespace dcp

void* operator new(size_t nbytes) { return dcp::Allocate(nbytes); }
void* operator new[](size_t nbytes) { return dcp::Allocate(nbytes); }
void* operator new(size_t nbytes, const std::nothrow_t&) noexcept {
  return dcp::TryAllocate(nbytes);
}
void* operator new[](size_t nbytes, const std::nothrow_t&) noexcept {
  return dcp::TryAllocate(nbytes);
}
void operator delete(void* memory) noexcept { dcp::Release(memory); }
void operator delete[](void* memory) noexcept { dcp::Release(memory); }
void operator delete(void* memory, size_t) noexcept { dcp::Release(memory); }
void operator delete[](void* memory, size_t) noexcept { dcp::Release(memory); }
