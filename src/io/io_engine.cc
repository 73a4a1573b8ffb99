#include "dcp/io_engine.h"

#include <algorithm>
#include <string>
#include <utility>

#include "io/thread_io_engine.h"
#include "io/uring_io_engine.h"

namespace dcp {
namespace {

constexpr int kMaxQueueDepth = 4096;
constexpr int kMaxThreads = 256;
constexpr int kMaxDefaultThreads = 16;

const Status& UringVerdict() {
  static const Status verdict = ProbeUring();
  return verdict;
}

Status CheckOptions(const IoEngineOptions& options) {
  if (options.queue_depth < 1 || options.queue_depth > kMaxQueueDepth) {
    return InvalidArgument("I/O queue depth " +
                           std::to_string(options.queue_depth) +
                           " is not in 1 to " + std::to_string(kMaxQueueDepth));
  }
  const int threads = options.threads.value_or(0);
  if (threads < 0 || threads > kMaxThreads) {
    return InvalidArgument(std::to_string(threads) +
                           " I/O threads are not in 0 to " +
                           std::to_string(kMaxThreads));
  }
  return absl::OkStatus();
}

}  // namespace

StatusOr<IoEngineChoice> SelectIoEngine(IoEngineKind wanted) {
  if (wanted == IoEngineKind::kThreads) {
    return IoEngineChoice{.kind = wanted, .reason = "threads were asked for"};
  }
  const Status& uring = UringVerdict();
  if (uring.ok()) {
    return IoEngineChoice{.kind = IoEngineKind::kUring,
                          .reason = "io_uring passed its probe"};
  }
  if (wanted == IoEngineKind::kUring) {
    return Unimplemented("io_uring was asked for and does not work here: " +
                         std::string(Message(uring)));
  }
  return IoEngineChoice{.kind = IoEngineKind::kThreads,
                        .reason = std::string(Message(uring))};
}

StatusOr<std::unique_ptr<IoEngine>> MakeIoEngine(
    const IoEngineOptions& options) {
  DCP_RETURN_IF_ERROR(CheckOptions(options));
  DCP_ASSIGN_OR_RETURN(const IoEngineChoice choice,
                       SelectIoEngine(options.kind));
  if (choice.kind == IoEngineKind::kUring) {
    auto engine = MakeUringIoEngine(options.queue_depth);
    // A limit may be met by now that the probe did not meet; only kAuto may
    // then answer with the other kind.
    if (engine.ok() || options.kind == IoEngineKind::kUring) return engine;
  }
  const int threads = options.threads.value_or(
      std::min(options.queue_depth, kMaxDefaultThreads));
  return std::make_unique<ThreadIoEngine>(options.queue_depth, threads,
                                          options.placement);
}

}  // namespace dcp
