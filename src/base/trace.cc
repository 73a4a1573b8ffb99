#include "dcp/trace.h"

#include <sys/syscall.h>
#include <unistd.h>

#include <new>

#include "base/mutex.h"

namespace dcp {
namespace {

uint64_t ThreadNumber() { return static_cast<uint64_t>(::syscall(SYS_gettid)); }

class SpanList final : public Trace {
 public:
  explicit SpanList(size_t max_spans) : max_spans_(max_spans) {}

  void Add(const char* name, TimePoint begin, TimePoint end,
           int64_t nbytes) override {
    AddFrom(ThreadNumber(), name, begin, end, nbytes);
  }

  void AddFrom(uint64_t thread, const char* name, TimePoint begin,
               TimePoint end, int64_t nbytes) override {
    const MutexLock lock(mutex_);
    if (spans_.size() >= max_spans_ || !HasRoom()) {
      ++dropped_;
      return;
    }
    spans_.push_back({.name = name,
                      .begin = begin - made_,
                      .end = end - made_,
                      .thread = thread,
                      .nbytes = nbytes});
  }

  std::vector<TraceSpan> spans() const override {
    const MutexLock lock(mutex_);
    return spans_;
  }

  int64_t dropped() const override {
    const MutexLock lock(mutex_);
    return dropped_;
  }

 private:
  /// A save must not fail because its trace finds no memory.
  bool HasRoom() ABSL_EXCLUSIVE_LOCKS_REQUIRED(mutex_) {
    if (spans_.size() < spans_.capacity()) return true;
    try {
      spans_.reserve(2 * spans_.size() + 64);
      return true;
    } catch (const std::bad_alloc&) {
      return false;
    }
  }

  const size_t max_spans_;
  const TimePoint made_ = std::chrono::steady_clock::now();
  mutable Mutex mutex_;
  std::vector<TraceSpan> spans_ ABSL_GUARDED_BY(mutex_);
  int64_t dropped_ ABSL_GUARDED_BY(mutex_) = 0;
};

}  // namespace

std::shared_ptr<Trace> Trace::Make(size_t max_spans) {
  return std::make_shared<SpanList>(max_spans);
}

}  // namespace dcp
