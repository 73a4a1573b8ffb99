// Ring: what RingIoEngine needs of io_uring, so that a test can be the kernel.

#ifndef DCP_IO_RING_H_
#define DCP_IO_RING_H_

#include <sys/uio.h>

#include <cstdint>
#include <optional>
#include <span>

#include "dcp/io_engine.h"

namespace dcp {

/// One read or write to start.
struct RingEntry {
  IoOp op = IoOp::kRead;
  int fd = -1;
  int64_t byte_offset = 0;
  std::span<const iovec> iov;  ///< valid until the entry's event
  /// Index of the registered buffer that holds all of the one entry of `iov`;
  /// -1: not registered.
  int buffer_index = -1;
  uint64_t user_data = 0;  ///< returned with the event
};

/// What became of one entry: bytes moved, or -errno.
struct RingEvent {
  uint64_t user_data = 0;
  int64_t result = 0;
};

enum class RingWait : uint8_t { kNo, kForOne };

/// One thread at a time. The destructor waits until the kernel is done with
/// every started entry's memory; in a forked child it only lets go.
class Ring {
 public:
  virtual ~Ring() = default;

  /// Registers `buffer` as number `index`, which is new and less than the
  /// number of entries that the ring takes. Returns whether it did.
  virtual bool RegisterBuffer(int index, const iovec& buffer) = 0;
  /// Starts an entry. Returns 0, or an errno when the entry was not taken.
  virtual int Start(const RingEntry& entry) = 0;
  /// One event, in any order. With kForOne waits for it; something must have
  /// been started.
  virtual StatusOr<std::optional<RingEvent>> Next(RingWait wait) = 0;
};

}  // namespace dcp

#endif  // DCP_IO_RING_H_
