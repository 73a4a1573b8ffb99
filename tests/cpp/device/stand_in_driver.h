// What a test sets and sees of the stand-in for libcuda.so.1.

#ifndef DCP_TESTS_DEVICE_STAND_IN_DRIVER_H_
#define DCP_TESTS_DEVICE_STAND_IN_DRIVER_H_

enum StandInCall {
  kStandInNone,
  kStandInInit,
  kStandInDeviceCount,
  kStandInDeviceGet,
  kStandInBusId,
  kStandInRetain,
  kStandInPush,
  kStandInPop,
  kStandInExchangeCaptureMode,
  kStandInToHost,
  kStandInToDevice,
  kStandInSynchronize,
  kStandInPriorities,
  kStandInStreamCreate,
  kStandInStreamWait,
  kStandInEventCreate,
  kStandInEventRecord,
  kStandInEventQuery,
  kStandInEventSynchronize,
  kStandInRegister,
  kStandInUnregister,
  kStandInBatch,
  kStandInModule,
  kStandInLaunch,
  kStandInAllocate,
  kStandInCallCount,
};

struct StandInState {
  int device_count = 2;
  /// This call does its work, or none for those before a copy, and returns
  /// `error`.
  StandInCall failing_call = kStandInNone;
  int error = 0;

  int calls[kStandInCallCount] = {};
  int retained[8] = {};  ///< by device
  int pushed = 0;        ///< contexts that are on the stack
  /// Another thread captures a graph: calls that could not be captured fail
  /// with 900 unless the capture mode is 2, and `was_broken` is set.
  bool is_captured = false;
  bool was_broken = false;
  int capture_mode = 0;
  void* current = nullptr;
  void* last_context = nullptr;
  void* last_stream = nullptr;
  void* synchronized_stream = nullptr;

  bool events_have_passed = true;
  /// Whether a stream has work of another library, which its events wait for.
  bool (*is_busy)(void* stream) = nullptr;
  /// Streams do nothing before somebody waits for it.
  bool is_late = false;
  void* own_stream = nullptr;  ///< the one that was made
  int own_priority = 0;
  unsigned own_flags = 0;
  unsigned event_flags = 0;  ///< of the last one
  int objects = 0;  ///< streams, events, modules and memory that are there
  /// What happened to streams, in order: "record(caller)", "wait(own)", ...
  char log[1024] = {};
};

inline constexpr int kStandInLeastPriority = 2;

/// The state of a loaded stand-in: look it up as "stand_in_state".
using StandInStateFunction = StandInState* (*)();

#endif  // DCP_TESTS_DEVICE_STAND_IN_DRIVER_H_
