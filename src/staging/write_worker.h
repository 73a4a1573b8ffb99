// WriteWorker: one thread's part in a WritePipeline.

#ifndef DCP_STAGING_WRITE_WORKER_H_
#define DCP_STAGING_WRITE_WORKER_H_

#include <cstddef>
#include <cstdint>
#include <memory>
#include <span>
#include <vector>

#include "dcp/io_engine.h"
#include "staging/aligned_buffer.h"
#include "staging/block_queue.h"
#include "staging/stall_monitor.h"
#include "staging/write_pipeline.h"

namespace dcp {

/// What the workers share, and keep alive.
struct WriteWork {
  /// Cuts the regions into transfers, in file order.
  WriteWork(std::span<const FileRegion> files, const PipelineOptions& options);

  const std::vector<FileRegion> regions;
  /// Asked for before blocks are cut: a file may refuse direct I/O later on,
  /// and buffers must be as large as blocks.
  const bool has_direct;
  const std::vector<WriteBlock> blocks;
  BlockQueue<WriteBlock> queue;
  const std::shared_ptr<WriteRate> rate;
  const std::shared_ptr<Trace> trace;
};

/// Owns an engine, buffers, and transfers in flight.
class WriteWorker {
 public:
  /// Worker `number` of `count`.
  WriteWorker(WriteWork& work, BlockFiller& filler, size_t number, size_t count)
      : work_(work),
        filler_(filler),
        number_(number),
        place_(work.queue.PlaceOf(number, count)) {}

  Status Prepare(const PipelineOptions& options);

  /// Takes blocks from the queue until there are no more or something fails,
  /// and tells `monitor`, as its thread of this number, of calls that may not
  /// return. What fails is in the queue then. Once the thread has been left
  /// behind, it uses neither the filler nor anything else that is not in
  /// `work`.
  void Run(StallMonitor& monitor);

 private:
  struct Slot {
    AlignedBuffer buffer;
    std::vector<IoSlice> slices;
    ErrorDetail name;           // of the transfer
    int64_t in_flight_as = -1;  // counted from 0; or it is not
    Trace::TimePoint submitted;
  };

  void Fail(const Status& status);
  Status WriteBlocks();
  Status WriteOne(const WriteBlock& block);
  Status Submit(const WriteBlock& block, Slot& slot);
  Status Reap();
  Status Drain();
  const Slot& OldestInFlight() const;
  template <typename Call>
  Status Watched(const ErrorDetail& name, const Call& call);

  WriteWork& work_;
  BlockFiller& filler_;
  StallMonitor* monitor_ = nullptr;
  const size_t number_;
  BlockQueue<WriteBlock>::Place place_;
  bool is_left_ = false;  // behind
  std::vector<Slot> slots_;
  std::vector<Slot*> free_;
  size_t buffer_nbytes_ = 0;
  int in_flight_ = 0;
  int64_t submitted_ = 0;
  std::unique_ptr<IoEngine> engine_;  // destroyed first: it uses the buffers
};

}  // namespace dcp

#endif  // DCP_STAGING_WRITE_WORKER_H_
