// Guarded: what the standard library throws, as a Status.
//
// libdcp throws nothing itself, and nothing leaves it. Containers throw when
// memory is short, std::thread when the system gives none; both pass through
// our functions, which release what they hold, up to the nearest Guarded: at
// the entry points (Save, Load, ...), around each step of a save or a load that
// other ranks must learn about, and at the bottom of every thread.

#ifndef DCP_BASE_GUARDED_H_
#define DCP_BASE_GUARDED_H_

#include <type_traits>
#include <utility>

#include "dcp/status.h"

namespace dcp {

/// The exception that is being handled, as a status; for use in a catch block.
/// std::bad_alloc is kResourceExhausted, std::system_error is told by its
/// errno; others are thrown again.
Status StatusOfException();

/// What `call`, which returns a Status or a StatusOr, returns or throws.
template <typename Call>
std::invoke_result_t<Call> Guarded(Call&& call) {
  try {
    return std::forward<Call>(call)();
  } catch (...) {
    return StatusOfException();
  }
}

}  // namespace dcp

#endif  // DCP_BASE_GUARDED_H_
