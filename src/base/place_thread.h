// PlaceThread: a thread takes the place that it was given.

#ifndef DCP_BASE_PLACE_THREAD_H_
#define DCP_BASE_PLACE_THREAD_H_

#include "dcp/thread_placement.h"

namespace dcp {

/// The calling thread, and those that it starts from now on. There is no way
/// back: it must be one that was started for this. As far as that goes: a
/// processor may have been taken away since CheckThreadPlacement.
void PlaceThread(const ThreadPlacement& placement);

}  // namespace dcp

#endif  // DCP_BASE_PLACE_THREAD_H_
