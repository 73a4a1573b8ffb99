#include "staging/aligned_buffer.h"

#include <sys/mman.h>
#include <unistd.h>

#include <cerrno>
#include <cstdint>

#include "staging/buffer_cache.h"

namespace dcp {
namespace {

// The kernel backs only whole, aligned ranges of this size by one huge page.
constexpr size_t kHugePage = size_t{2} << 20;

// A load asks for whole mebibytes and room to round out at both ends, a save
// for whole mebibytes: with this much more, a buffer of either serves both.
constexpr size_t kMargin = size_t{16} << 10;
constexpr size_t kMebibyte = size_t{1} << 20;

size_t RoundUp(size_t nbytes, size_t unit) {
  return (nbytes + unit - 1) / unit * unit;
}

size_t CapacityFor(size_t nbytes) {
  if (nbytes < kMinKeptBuffer) return nbytes;
  return RoundUp(nbytes - kMargin, kMebibyte) + kMargin;
}

/// Kept memory of at least `nbytes`; smaller ones, of earlier options, go.
std::span<std::byte> TakeFitting(size_t nbytes) {
  while (true) {
    const std::span<std::byte> memory = TakeKeptBuffer();
    if (memory.size() >= nbytes || memory.empty()) return memory;
    munmap(memory.data(), memory.size());
  }
}

}  // namespace

StatusOr<AlignedBuffer> AlignedBuffer::Allocate(size_t nbytes) {
  if (nbytes >= kMinKeptBuffer) {
    const std::span<std::byte> memory = TakeFitting(nbytes);
    if (!memory.empty()) return AlignedBuffer(memory);
  }
  nbytes = CapacityFor(nbytes);
  const size_t kept =
      RoundUp(nbytes, static_cast<size_t>(sysconf(_SC_PAGESIZE)));
  const size_t mapped = kept + kHugePage;
  void* memory = mmap(nullptr, mapped, PROT_READ | PROT_WRITE,
                      MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
  if (memory == MAP_FAILED) {
    return ErrnoToStatus(errno, {.op = "mmap of an I/O buffer",
                                 .nbytes = static_cast<int64_t>(mapped)});
  }
  auto* const first = static_cast<std::byte*>(memory);
  const size_t skipped =
      (kHugePage - reinterpret_cast<uintptr_t>(first) % kHugePage) % kHugePage;
  if (skipped > 0) munmap(first, skipped);
  std::byte* const begin = first + skipped;
  munmap(begin + kept, mapped - skipped - kept);
  // Both are hints. In pages of 4 KiB a direct transfer is cut into as many
  // pieces: a third of the speed on a virtual disk.
  madvise(begin, nbytes, MADV_HUGEPAGE);
  // A kernel without MADV_DONTFORK has none of the trouble that it prevents.
  madvise(begin, nbytes, MADV_DONTFORK);
  return AlignedBuffer({begin, nbytes});
}

AlignedBuffer::~AlignedBuffer() {
  if (memory_.empty() || KeepBuffer(memory_)) return;
  munmap(memory_.data(), memory_.size());
}

Status RequireBuffer(size_t nbytes, IoEngine* engine, AlignedBuffer& buffer) {
  if (!buffer.memory().empty()) return absl::OkStatus();
  DCP_ASSIGN_OR_RETURN(buffer, AlignedBuffer::Allocate(nbytes));
  if (engine != nullptr) {
    engine->RegisterBuffer({buffer.memory().data(), buffer.memory().size()});
  }
  return absl::OkStatus();
}

}  // namespace dcp
