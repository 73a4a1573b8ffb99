// IoEngine: many reads and writes in flight at once.
//
// Two implementations pass one conformance suite: io_uring and a thread pool.
// SelectIoEngine probes which works here and says why.

#ifndef DCP_IO_ENGINE_H_
#define DCP_IO_ENGINE_H_

#include <cstdint>
#include <memory>
#include <optional>
#include <span>
#include <string>
#include <string_view>

#include "dcp/file_system.h"
#include "dcp/status.h"
#include "dcp/thread_placement.h"

namespace dcp {

enum class IoOp : uint8_t { kRead, kWrite };

/// One transfer. `slices` and the memory they name must stay valid until its
/// completion was returned. Requests in flight on one file must not overlap.
struct IoRequest {
  IoOp op = IoOp::kRead;
  File* file = nullptr;
  int64_t byte_offset = 0;
  std::span<const IoSlice> slices;
  uint64_t tag = 0;  ///< returned with the completion
};

/// `status` is OK only if every byte was transferred: short transfers are
/// continued by the engine. A read past the end of the file is kDataLoss.
struct IoCompletion {
  uint64_t tag = 0;
  Status status;
};

/// Submits and completes transfers. One thread at a time per engine.
///
/// At most queue_depth() requests may be in flight (submitted and not yet
/// returned as a completion); one more is kFailedPrecondition. The destructor
/// waits for what is in flight. After fork(2) the child must not use an engine
/// that its parent made: every call there is kFailedPrecondition.
class IoEngine {
 public:
  virtual ~IoEngine() = default;

  /// "io_uring", "threads", "inline"
  virtual std::string_view name() const = 0;
  virtual int queue_depth() const = 0;

  /// Tells the engine of memory that many requests will use, so that the kernel
  /// pins it once and not for each of them. At any time, at most
  /// queue_depth() times; the memory must outlive the engine. Returns whether
  /// it was registered; false is not an error (RLIMIT_MEMLOCK).
  virtual bool RegisterBuffer(IoSlice buffer) = 0;

  /// \error kInvalidArgument  no file, or a range that does not fit int64
  /// \error kFailedPrecondition  queue_depth() requests are in flight
  virtual Status Submit(const IoRequest& request) = 0;
  /// Waits for one completion, in any order.
  /// \error kFailedPrecondition  nothing is in flight
  virtual StatusOr<IoCompletion> Wait() = 0;
  /// As Wait, but nullopt if none is ready.
  virtual StatusOr<std::optional<IoCompletion>> Poll() = 0;
};

enum class IoEngineKind : uint8_t { kAuto, kUring, kThreads };

struct IoEngineOptions {
  IoEngineKind kind = IoEngineKind::kAuto;
  int queue_depth = 16;  ///< 1 to 4096
  /// Worker threads of a kThreads engine; nullopt: one per request in flight,
  /// at most 16. 0: none, Submit() does the transfer itself, so that tests run
  /// in one order only and file systems that want one thread get one.
  std::optional<int> threads;
  /// Of these threads.
  ThreadPlacement placement;
};

/// What was chosen and why, for logs and show_config().
struct IoEngineChoice {
  IoEngineKind kind = IoEngineKind::kThreads;  ///< never kAuto
  std::string reason;  ///< e.g. "io_uring_setup: Operation not permitted"
};

/// Probes io_uring with a real ring and a real write, once per process; the
/// answer is then the same for every call.
/// \error kUnimplemented  `kUring` was forced and does not work here
StatusOr<IoEngineChoice> SelectIoEngine(IoEngineKind wanted);

/// Whether files are written or read past the page cache, and why or why not,
/// for logs and show_config().
struct DirectIoChoice {
  bool available = false;
  std::string reason;  ///< e.g. "open with O_DIRECT: Invalid argument"
};

/// Tries with the file `path`, which is read, or with one without a name in the
/// directory `path`.
/// \error any  of opening or making the file: nothing can be told
StatusOr<DirectIoChoice> ProbeDirectIo(const std::string& path);

/// Makes the engine that SelectIoEngine(options.kind) chooses.
/// \error kInvalidArgument  queue_depth or threads out of range
/// \error kUnimplemented  `kUring` was forced and does not work here
StatusOr<std::unique_ptr<IoEngine>> MakeIoEngine(
    const IoEngineOptions& options);

}  // namespace dcp

#endif  // DCP_IO_ENGINE_H_
