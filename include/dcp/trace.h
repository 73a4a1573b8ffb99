// Trace: what a save did when, in which thread.

#ifndef DCP_TRACE_H_
#define DCP_TRACE_H_

#include <chrono>
#include <cstddef>
#include <cstdint>
#include <memory>
#include <vector>

namespace dcp {

/// One stretch of work.
struct TraceSpan {
  /// A string that lives for ever: "plan", "copy" (into staging memory), "fill"
  /// (a block: what is stored, and its checksum), "submit", "write" (until it
  /// is complete), "sync", "meet" (waiting for the other ranks), "commit".
  const char* name = "";
  /// Since the trace was made.
  std::chrono::nanoseconds begin{0};
  std::chrono::nanoseconds end{0};
  uint64_t thread = 0;  ///< the system's number of it
  int64_t nbytes = 0;
};

/// Collects spans. Thread-safe. A thread that a save left behind may still add
/// some when the save has ended, so it is shared.
class Trace {
 public:
  using TimePoint = std::chrono::steady_clock::time_point;

  /// \param max_spans  those beyond are counted and dropped
  static std::shared_ptr<Trace> Make(size_t max_spans = size_t{1} << 16);
  virtual ~Trace() = default;

  virtual void Add(const char* name, TimePoint begin, TimePoint end,
                   int64_t nbytes) = 0;
  /// For a thread of another process on this machine.
  virtual void AddFrom(uint64_t thread, const char* name, TimePoint begin,
                       TimePoint end, int64_t nbytes) = 0;

  virtual std::vector<TraceSpan> spans() const = 0;
  virtual int64_t dropped() const = 0;
};

}  // namespace dcp

#endif  // DCP_TRACE_H_
