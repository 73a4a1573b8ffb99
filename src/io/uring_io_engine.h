// The io_uring engine: RingIoEngine over the kernel's ring.

#ifndef DCP_IO_URING_IO_ENGINE_H_
#define DCP_IO_URING_IO_ENGINE_H_

#include <memory>

#include "dcp/io_engine.h"

namespace dcp {

/// Makes a ring and writes one byte with it. Not cached; SelectIoEngine is.
/// \error any  the message says which step failed and what forbids it
Status ProbeUring();

/// \error any  the kernel refuses a ring of that size
StatusOr<std::unique_ptr<IoEngine>> MakeUringIoEngine(int queue_depth);

}  // namespace dcp

#endif  // DCP_IO_URING_IO_ENGINE_H_
