// AlignedBuffer: page-aligned host memory for direct I/O.

#ifndef DCP_STAGING_ALIGNED_BUFFER_H_
#define DCP_STAGING_ALIGNED_BUFFER_H_

#include <cstddef>
#include <span>
#include <utility>

#include "dcp/io_engine.h"
#include "dcp/status.h"

namespace dcp {

/// Owns anonymous memory, aligned to 2 MiB, so that huge pages can back it.
/// What is given back is kept for the next one: see buffer_cache.h.
///
/// Not inherited by forked children: a child that touched a page while the
/// kernel transfers it would break the transfer (open(2), NOTES on O_DIRECT).
class AlignedBuffer {
 public:
  AlignedBuffer() = default;
  /// At least `nbytes`, with anything in them.
  /// \error kResourceExhausted  no memory
  static StatusOr<AlignedBuffer> Allocate(size_t nbytes);

  AlignedBuffer(AlignedBuffer&& other) noexcept
      : memory_(std::exchange(other.memory_, {})) {}
  AlignedBuffer& operator=(AlignedBuffer&& other) noexcept {
    std::swap(memory_, other.memory_);
    return *this;
  }
  AlignedBuffer(const AlignedBuffer&) = delete;
  AlignedBuffer& operator=(const AlignedBuffer&) = delete;
  ~AlignedBuffer();

  std::span<std::byte> memory() const { return memory_; }

 private:
  explicit AlignedBuffer(std::span<std::byte> memory) : memory_(memory) {}

  std::span<std::byte> memory_;
};

/// Allocates `buffer` if it is empty, and registers it with `engine` if there
/// is one.
Status RequireBuffer(size_t nbytes, IoEngine* engine, AlignedBuffer& buffer);

}  // namespace dcp

#endif  // DCP_STAGING_ALIGNED_BUFFER_H_
