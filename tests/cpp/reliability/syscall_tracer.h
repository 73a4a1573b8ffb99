// RunTraced: a child process in which single system calls are the last ones, or
// fail, as a test decides. The real library on the real kernel, with nothing
// in between.

#ifndef DCP_TESTS_RELIABILITY_SYSCALL_TRACER_H_
#define DCP_TESTS_RELIABILITY_SYSCALL_TRACER_H_

#include <cstdint>
#include <functional>
#include <optional>
#include <string>

namespace dcp::testing {

enum class CallStop : uint8_t {
  kBefore,  ///< the call has not been made
  kAfter,
};

/// One system call that does input or output, of any thread of the child.
struct TracedCall {
  int64_t n = 0;    ///< which, from 1
  long number = 0;  ///< SYS_...
  CallStop stop = CallStop::kBefore;
};

struct Verdict {
  enum class Action : uint8_t {
    kContinue,
    kKill,    ///< the process that makes the call, with SIGKILL
    kReturn,  ///< do not make the call, return `value`; kBefore only
    kShorten  ///< halve the number of bytes of a read or write; kBefore only
  };
  Action action = Action::kContinue;
  int64_t value = 0;  ///< -errno for an error
};

struct TraceOptions {
  /// Nobody asks about calls before MarkTraceBegin().
  bool from_mark = false;
  /// Programs that the child starts are traced as well, also when the child
  /// has ended.
  bool follow = false;
};

struct TraceResult {
  int64_t calls = 0;
  std::optional<int> exit_code;  ///< nullopt if a signal ended it
  bool hung = false;             ///< it was killed after kHangSeconds
};

inline constexpr int kHangSeconds = 10;

/// Runs `body`, whose value is the exit code, in a forked child, and asks
/// `decide` about each of its calls. Call it while no other thread of this
/// process runs.
TraceResult RunTraced(const std::function<int()>& body,
                      const std::function<Verdict(const TracedCall&)>& decide,
                      const TraceOptions& options = {});

/// In the child: see TraceOptions.
void MarkTraceBegin();

/// Why RunTraced cannot work here; nullopt if it can.
std::optional<std::string> WhyNotTraced();

/// Whether call `number` writes a number of bytes that can be shortened.
bool IsWrite(long number);

}  // namespace dcp::testing

#endif  // DCP_TESTS_RELIABILITY_SYSCALL_TRACER_H_
