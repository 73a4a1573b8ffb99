// ReadPickle: a restricted unpickler. It builds data and never runs anything.

#ifndef DCP_FORMAT_PICKLE_READER_H_
#define DCP_FORMAT_PICKLE_READER_H_

#include <cstddef>
#include <cstdint>
#include <string_view>

#include "dcp/status.h"
#include "format/pickle_value.h"

namespace dcp {

/// Whether BINPERSID is an opcode: torch.save refers to storages by it.
enum class PersistentIds : uint8_t { kReject, kAccept };

struct PickleOptions {
  PersistentIds persistent_ids = PersistentIds::kReject;
  size_t max_nbytes = size_t{1} << 30;
  size_t max_string_nbytes = size_t{1} << 20;  ///< str and bytes
  size_t max_nesting = 64;                     ///< at most 127
  size_t max_marks = 1000;
  size_t max_stack = 1'000'000;
};

/// Reads a pickle of protocol 2 to 5.
///
/// `data` must outlive the graph. Time and memory are linear in its size:
/// 8 times the size plus 16 MiB at most. Opcodes that no writer of checkpoints
/// emits are refused (text opcodes, INST, OBJ, EXT*, POP, DUP, NEWOBJ_EX, ...),
/// and so are sparse memo indices, bytes after STOP, a second PROTO, and
/// globals that only an attack names. \error kDataLoss  "pickle: <OPCODE> at
/// byte <n>: <why>"
StatusOr<PickleGraph> ReadPickle(std::string_view data,
                                 const PickleOptions& options = {});

}  // namespace dcp

#endif  // DCP_FORMAT_PICKLE_READER_H_
