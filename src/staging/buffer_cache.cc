// The places are a fixed number of atomics without a lock, because a forked
// child may only do what is async-signal-safe, and a thread that is not in it
// might have held the lock. A buffer's size stands in its first bytes.

#include "staging/buffer_cache.h"

#include <pthread.h>
#include <sys/mman.h>

#include <array>
#include <atomic>
#include <cstring>

#include "dcp/kept_buffers.h"

namespace dcp {
namespace {

constexpr size_t kPlaces = kMaxKeptNbytes / kMinKeptBuffer;

struct Cache {
  std::array<std::atomic<std::byte*>, kPlaces> places = {};
  std::atomic<int64_t> nbytes = 0;
};

void ForgetInChild();

/// Null where forked children cannot be told.
Cache* TheCache() {
  static Cache cache;
  static const bool usable =
      ::pthread_atfork(nullptr, nullptr, &ForgetInChild) == 0;
  return usable ? &cache : nullptr;
}

void ForgetInChild() {
  Cache* const cache = TheCache();
  if (cache == nullptr) return;
  for (auto& place : cache->places) place.store(nullptr);
  cache->nbytes.store(0);
}

size_t SizeOf(const std::byte* memory) {
  size_t nbytes = 0;
  std::memcpy(&nbytes, memory, sizeof nbytes);
  return nbytes;
}

}  // namespace

std::span<std::byte> TakeKeptBuffer() {
  Cache* const cache = TheCache();
  if (cache == nullptr) return {};
  for (auto& place : cache->places) {
    if (place.load() == nullptr) continue;
    // Only who took it may look into it: another might unmap it.
    std::byte* const memory = place.exchange(nullptr);
    if (memory == nullptr) continue;
    const size_t nbytes = SizeOf(memory);
    cache->nbytes -= static_cast<int64_t>(nbytes);
    return {memory, nbytes};
  }
  return {};
}

bool KeepBuffer(std::span<std::byte> memory) {
  Cache* const cache = TheCache();
  if (cache == nullptr || memory.size() < kMinKeptBuffer) return false;
  const auto nbytes = static_cast<int64_t>(memory.size());
  if (cache->nbytes.fetch_add(nbytes) + nbytes <= kMaxKeptNbytes) {
    const size_t size = memory.size();
    std::memcpy(memory.data(), &size, sizeof size);
    for (auto& place : cache->places) {
      std::byte* expected = nullptr;
      if (place.compare_exchange_strong(expected, memory.data())) return true;
    }
  }
  cache->nbytes -= nbytes;
  return false;
}

void TrimKeptBuffers(int64_t max_nbytes) {
  while (KeptBufferNbytes() > max_nbytes) {
    const std::span<std::byte> memory = TakeKeptBuffer();
    if (memory.empty()) return;
    munmap(memory.data(), memory.size());
  }
}

int64_t KeptBufferNbytes() {
  const Cache* const cache = TheCache();
  return cache == nullptr ? 0 : cache->nbytes.load();
}

}  // namespace dcp
