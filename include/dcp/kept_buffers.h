// Kept buffers: what a process keeps of finished saves and loads.

#ifndef DCP_KEPT_BUFFERS_H_
#define DCP_KEPT_BUFFERS_H_

#include <cstdint>

namespace dcp {

/// Bytes of buffers that this process keeps for its next save or load, 136 MiB
/// at most: memory that was never touched may take long to come.
int64_t KeptBufferNbytes();

}  // namespace dcp

#endif  // DCP_KEPT_BUFFERS_H_
