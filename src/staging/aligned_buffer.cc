#include "staging/aligned_buffer.h"

#include <sys/mman.h>

#include <cerrno>

namespace dcp {

StatusOr<AlignedBuffer> AlignedBuffer::Allocate(size_t nbytes) {
  void* memory = mmap(nullptr, nbytes, PROT_READ | PROT_WRITE,
                      MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
  if (memory == MAP_FAILED) {
    return ErrnoToStatus(errno, {.op = "mmap of an I/O buffer",
                                 .nbytes = static_cast<int64_t>(nbytes)});
  }
  // Both are hints: without huge pages a transfer costs more page look-ups,
  // and a kernel without MADV_DONTFORK has none of the trouble it prevents.
  madvise(memory, nbytes, MADV_HUGEPAGE);
  madvise(memory, nbytes, MADV_DONTFORK);
  return AlignedBuffer({static_cast<std::byte*>(memory), nbytes});
}

AlignedBuffer::~AlignedBuffer() {
  if (!memory_.empty()) munmap(memory_.data(), memory_.size());
}

}  // namespace dcp
