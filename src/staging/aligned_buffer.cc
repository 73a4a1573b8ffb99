#include "staging/aligned_buffer.h"

#include <sys/mman.h>

#include "base/round_up.h"
#include "staging/buffer_cache.h"
#include "staging/huge_pages.h"

namespace dcp {
namespace {

// A load asks for whole mebibytes and room to round out at both ends, a save
// for whole mebibytes: with this much more, a buffer of either serves both.
constexpr size_t kMargin = size_t{16} << 10;
constexpr size_t kMebibyte = size_t{1} << 20;

size_t CapacityFor(size_t nbytes) {
  if (nbytes < kMinKeptBuffer) return nbytes;
  return RoundUpTo(nbytes - kMargin, kMebibyte) + kMargin;
}

/// Kept memory of at least `nbytes`; smaller ones, of earlier options, go.
std::span<std::byte> TakeFitting(size_t nbytes) {
  while (true) {
    const std::span<std::byte> memory = TakeKeptBuffer();
    if (memory.size() >= nbytes || memory.empty()) return memory;
    munmap(memory.data(), memory.size());
  }
}

/// What of a buffer is registered. One small page at its end, and the kernel
/// takes all of it as small ones, and cuts each transfer into as many pieces:
/// 7 % of the speed of a save of 4 GiB on a virtual disk.
IoSlice WholeHugePages(const AlignedBuffer& buffer) {
  const std::span<std::byte> memory = buffer.memory();
  const size_t whole = memory.size() / kHugePage * kHugePage;
  return {memory.data(), whole > 0 ? whole : memory.size()};
}

}  // namespace

StatusOr<AlignedBuffer> AlignedBuffer::Allocate(size_t nbytes) {
  if (nbytes >= kMinKeptBuffer) {
    const std::span<std::byte> memory = TakeFitting(nbytes);
    if (!memory.empty()) return AlignedBuffer(memory);
  }
  nbytes = CapacityFor(nbytes);
  DCP_ASSIGN_OR_RETURN(const auto memory, MapHugePages(nbytes));
  return AlignedBuffer(memory);
}

AlignedBuffer::~AlignedBuffer() {
  if (memory_.empty() || KeepBuffer(memory_)) return;
  munmap(memory_.data(), memory_.size());
}

Status RequireBuffer(size_t nbytes, IoEngine* engine, AlignedBuffer& buffer) {
  if (!buffer.memory().empty()) return absl::OkStatus();
  DCP_ASSIGN_OR_RETURN(buffer, AlignedBuffer::Allocate(nbytes));
  if (engine != nullptr) engine->RegisterBuffer(WholeHugePages(buffer));
  return absl::OkStatus();
}

}  // namespace dcp
