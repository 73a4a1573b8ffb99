// Saves of which single system calls are the last ones, or fail.

#ifndef DCP_TESTS_RELIABILITY_TRACED_SAVES_H_
#define DCP_TESTS_RELIABILITY_TRACED_SAVES_H_

#include <functional>

#include "reliability/save_trials.h"
#include "reliability/syscall_tracer.h"

namespace dcp::testing {

/// Has a child save the state that is not in the directory; its calls, and
/// those of its saver if it has one, from the beginning of the save on.
inline TraceResult TraceSave(
    SaveTrials& trials,
    const std::function<Verdict(const TracedCall&)>& decide) {
  trials.OnBegin([](int) { MarkTraceBegin(); });
  return RunTraced(
      [&] { return trials.SaveOther(); }, decide,
      {.from_mark = true, .follow = trials.kind().by == SaveBy::kProcess});
}

}  // namespace dcp::testing

#endif  // DCP_TESTS_RELIABILITY_TRACED_SAVES_H_
