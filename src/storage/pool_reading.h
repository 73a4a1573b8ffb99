// PoolReading: reads this rank's pieces of a pool, beside its other work.

#ifndef DCP_STORAGE_POOL_READING_H_
#define DCP_STORAGE_POOL_READING_H_

#include <atomic>
#include <cstddef>
#include <cstdint>
#include <functional>
#include <memory>
#include <span>
#include <string>
#include <thread>
#include <vector>

#include "absl/base/thread_annotations.h"
#include "base/mutex.h"
#include "dcp/status.h"
#include "staging/pipeline_options.h"
#include "storage/open_files.h"
#include "storage/pool_member.h"

namespace dcp {

class PoolReading {
 public:
  using MakeFiles = std::function<std::unique_ptr<OpenFiles>()>;

  /// Begins. `member` outlives the object. Where the system gives no thread
  /// nothing is read, and the others know.
  PoolReading(PoolMember& member, const PipelineOptions& options,
              MakeFiles make_files);
  /// Gives up what is left.
  ~PoolReading();
  PoolReading(const PoolReading&) = delete;
  PoolReading& operator=(const PoolReading&) = delete;

  /// Waits until all has been read, or cannot be.
  /// \error what `proceed` returns, which is asked now and then
  Status Finish(const std::function<Status()>& proceed);
  int64_t nbytes_read() const { return nbytes_read_; }

 private:
  void Run();
  void ReadRounds();
  void Stop();
  /// False: this rank reads no more.
  bool ReadRound(std::span<const PoolPiece> pieces,
                 std::unique_ptr<OpenFiles>& files);

  PoolMember& member_;
  const PipelineOptions options_;
  const MakeFiles make_files_;
  std::vector<PoolPiece> pieces_;  // of which this rank is the reader
  size_t round_ = 1;               // pieces
  std::atomic<size_t> next_{0};
  std::atomic<bool> stops_{false};
  std::atomic<int64_t> nbytes_read_{0};

  Mutex mutex_;
  CondVar changed_;
  bool is_done_ ABSL_GUARDED_BY(mutex_) = false;
  std::thread thread_;
};

}  // namespace dcp

#endif  // DCP_STORAGE_POOL_READING_H_
