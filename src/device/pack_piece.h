// PackPiece: what the packing kernel is told. Both compilers read this.

#ifndef DCP_DEVICE_PACK_PIECE_H_
#define DCP_DEVICE_PACK_PIECE_H_

#include <stdint.h>

namespace dcp {

/// `nbytes` at the device address `from` go to `to` in the packed memory.
struct PackPiece {
  uint64_t from;
  uint64_t to;
  uint64_t nbytes;
};

}  // namespace dcp

#endif  // DCP_DEVICE_PACK_PIECE_H_
