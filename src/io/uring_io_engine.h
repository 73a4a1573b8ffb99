// The io_uring engine: RingIoEngine over the kernel's ring.

#ifndef DCP_IO_URING_IO_ENGINE_H_
#define DCP_IO_URING_IO_ENGINE_H_

#include <memory>

#include "dcp/io_engine.h"
#include "io/ring.h"

namespace dcp {

/// Makes a ring and writes one byte with it. Not cached; SelectIoEngine is.
/// \error any  the message says which step failed and what forbids it
Status ProbeUring();

/// The kernel's ring, with room for `entries` entries and twice as many events.
/// \error any  the kernel refuses a ring of that size
StatusOr<std::unique_ptr<Ring>> MakeKernelRing(int entries);

/// An engine over a kernel's ring of the same size.
StatusOr<std::unique_ptr<IoEngine>> MakeUringIoEngine(int queue_depth);

}  // namespace dcp

#endif  // DCP_IO_URING_IO_ENGINE_H_
