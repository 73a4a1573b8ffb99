// What a test sets of the stand-in for libnccl.so.2.

#ifndef DCP_TESTS_NCCL_STAND_IN_NCCL_H_
#define DCP_TESTS_NCCL_STAND_IN_NCCL_H_

#include <cstddef>

/// How splits go wrong; the trainer's own communicators always work.
struct StandInNcclState {
  int version = 22304;
  /// What ncclCommGetAsyncError reports.
  int async_error = 0;
  /// What operations return.
  int call_error = 0;
  /// Operations do not end.
  bool is_stuck = false;
  /// The last byte of a message arrives changed.
  bool garbles_messages = false;
  /// So does a byte of what the last rank sends to all.
  bool garbles_headers = false;
};

/// The state of a loaded stand-in: look it up as "stand_in_nccl_state".
using StandInNcclStateFunction = StandInNcclState* (*)();

#endif  // DCP_TESTS_NCCL_STAND_IN_NCCL_H_
