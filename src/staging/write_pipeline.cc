// 1. The regions are cut into blocks; an atomic counter hands them out in file
//    order. Through the page cache each file has a counter of its own, and
//    workers stay with one file while it has blocks.
// 2. A worker takes a block only when it has a free buffer, so that every
//    block handed out is being filled and a Fill may wait for earlier blocks
//    without a deadlock.
// 3. Direct files: blocks are large, copied into aligned buffers and kept in
//    flight by the worker's engine. Other files: blocks are small, refer to
//    the caller's memory where they can, and are written by the worker itself,
//    because the kernel copies them anyway and serializes writers of an inode.
// 4. The first error stops the hand-out; each worker waits for its own
//    transfers before it returns, so that no buffer is freed under the kernel.
// 5. The caller's thread does not write: it watches the workers, which tell
//    when they go into a call that may not return. After a stall it leaves
//    those behind that are in such a call, and those that come to the next one;
//    workers that are filling a block use the caller's memory, and are waited
//    for. Who is left behind touches nothing but what all workers share, and
//    the last of them frees that.
// 6. While it watches it asks now and then whether the writing may go on, and
//    once more at the end. If not, that is an error as any other: what is in
//    flight is waited for.
// 7. Where the system gives no thread for a worker, the caller does its part,
//    unwatched.

#include "staging/write_pipeline.h"

#include <algorithm>
#include <functional>
#include <memory>
#include <new>
#include <system_error>
#include <thread>
#include <utility>

#include "base/guarded.h"
#include "base/place_thread.h"
#include "staging/buffer_cache.h"
#include "staging/stall_monitor.h"
#include "staging/write_worker.h"

namespace dcp {
namespace {

/// The workers, their threads, and who watches them.
class Crew {
 public:
  Crew(std::span<const FileRegion> regions, const PipelineOptions& options)
      : work_(regions, options), placement_(options.placement) {}

  Status Prepare(WriteOrder order, BlockFiller& filler,
                 const PipelineOptions& options) {
    const size_t wanted = order == WriteOrder::kSequential
                              ? size_t{1}
                              : static_cast<size_t>(options.workers);
    const size_t count = std::min(wanted, work_.blocks.size());
    workers_.reserve(count);
    for (size_t i = 0; i < count; ++i) {
      workers_.push_back(
          std::make_unique<WriteWorker>(work_, filler, i, count));
      DCP_RETURN_IF_ERROR(workers_.back()->Prepare(options));
    }
    monitor_ = std::make_unique<StallMonitor>(count, options.stall_timeout);
    return absl::OkStatus();
  }

  static Status Run(const std::shared_ptr<Crew>& crew, BlockFiller& filler,
                    const std::function<Status()>& proceed) {
    // What allocates comes before the threads, which must be joined.
    const auto ask = [&] { crew->AskWhetherTo(proceed, filler); };
    const std::function<void()> meanwhile =
        proceed ? std::function<void()>(ask) : nullptr;
    std::vector<std::thread> threads;
    threads.reserve(crew->workers_.size());
    size_t i = 0;
    for (; i < crew->workers_.size() && Start(crew, i, threads); ++i) {
    }
    for (; i < crew->workers_.size(); ++i) {
      crew->workers_[i]->Run(*crew->monitor_);
    }
    const Status stall = crew->monitor_->AwaitEndOrStall(meanwhile);
    if (!stall.ok()) {
      crew->work_.queue.Fail(stall);
      filler.Cancel();
      crew->monitor_->AwaitEnd();
    }
    if (proceed) ask();
    for (std::thread& thread : threads) {
      stall.ok() ? thread.join() : thread.detach();
    }
    return crew->work_.queue.status();
  }

 private:
  void AskWhetherTo(const std::function<Status()>& proceed,
                    BlockFiller& filler) {
    if (!work_.queue.status().ok()) return;  // it ends anyway
    const Status answer = Guarded(proceed);
    if (answer.ok()) return;
    work_.queue.Fail(answer);
    filler.Cancel();
  }

  static bool Start(const std::shared_ptr<Crew>& crew, size_t i,
                    std::vector<std::thread>& threads) {
    try {
      threads.emplace_back([crew, i] {
        PlaceThread(crew->placement_);
        crew->workers_[i]->Run(*crew->monitor_);
      });
      return true;
    } catch (const std::system_error&) {  // EAGAIN: a limit on threads
      return false;
    } catch (const std::bad_alloc&) {
      return false;
    }
  }

  WriteWork work_;
  const ThreadPlacement placement_;
  std::vector<std::unique_ptr<WriteWorker>> workers_;
  std::unique_ptr<StallMonitor> monitor_;
};

}  // namespace

Status RunWritePipeline(std::span<const FileRegion> regions, WriteOrder order,
                        BlockFiller& filler, const PipelineOptions& options) {
  TrimKeptBuffers(options.max_kept_nbytes);
  const auto crew = std::make_shared<Crew>(regions, options);
  DCP_RETURN_IF_ERROR(crew->Prepare(order, filler, options));
  return Crew::Run(crew, filler, options.proceed);
}

}  // namespace dcp
