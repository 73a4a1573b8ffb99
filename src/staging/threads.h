// RunOnThreads, RunPlaced: fork and join.

#ifndef DCP_STAGING_THREADS_H_
#define DCP_STAGING_THREADS_H_

#include <cstddef>
#include <functional>

#include "dcp/thread_placement.h"

namespace dcp {

/// Runs `body(0)` .. `body(count - 1)`, each on a thread of its own, number 0
/// on the caller's, and returns when all have ended. Where the system refuses
/// a thread, the bodies that are left run on the caller's thread, one after
/// the other, so `body` must not wait for another body to start. What a body
/// throws is thrown to the caller, after all have ended.
void RunOnThreads(size_t count, const std::function<void(size_t)>& body);

/// Runs `body` on a thread at that place, so that what it starts is there too,
/// and returns when it has ended. On the caller's own thread where the
/// placement is the default one, or the system refuses a thread.
void RunPlaced(const ThreadPlacement& placement,
               const std::function<void()>& body);

}  // namespace dcp

#endif  // DCP_STAGING_THREADS_H_
