// Traced: a call as a span of a trace, which may be null.

#ifndef DCP_BASE_TRACED_H_
#define DCP_BASE_TRACED_H_

#include <cstdint>
#include <utility>

#include "dcp/trace.h"

namespace dcp {

/// Runs from its making to its end.
class ScopedSpan {
 public:
  ScopedSpan(Trace* trace, const char* name, int64_t nbytes = 0)
      : trace_(trace), name_(name), nbytes_(nbytes), begin_(Now(trace)) {}
  ~ScopedSpan() {
    if (trace_ != nullptr) trace_->Add(name_, begin_, Now(trace_), nbytes_);
  }
  ScopedSpan(const ScopedSpan&) = delete;
  ScopedSpan& operator=(const ScopedSpan&) = delete;

 private:
  static Trace::TimePoint Now(const Trace* trace) {
    return trace == nullptr ? Trace::TimePoint()
                            : std::chrono::steady_clock::now();
  }

  Trace* trace_;
  const char* name_;
  int64_t nbytes_;
  Trace::TimePoint begin_;
};

/// What `call` returns.
template <typename Call>
auto Traced(Trace* trace, const char* name, Call&& call) {
  const ScopedSpan span(trace, name);
  return std::forward<Call>(call)();
}

}  // namespace dcp

#endif  // DCP_BASE_TRACED_H_
