// PipelineOptions: how many threads and buffers one save or load uses.

#ifndef DCP_STAGING_PIPELINE_OPTIONS_H_
#define DCP_STAGING_PIPELINE_OPTIONS_H_

#include <cstddef>
#include <cstdint>
#include <functional>
#include <memory>

#include "dcp/filesystem_storage.h"
#include "dcp/status.h"
#include "dcp/trace.h"
#include "staging/buffer_cache.h"
#include "staging/write_rate.h"

namespace dcp {

/// Resolved form of IoOptions: nothing is left to choose.
struct PipelineOptions {
  IoEngineKind engine = IoEngineKind::kAuto;
  int workers = 1;
  /// Transfers that one worker keeps in flight.
  int blocks_per_worker = 2;
  /// Bytes of one transfer past the page cache.
  int64_t direct_block_nbytes = int64_t{8} << 20;
  /// Bytes of one transfer through it: small enough that what the checksum
  /// just read is still in the core's cache.
  int64_t buffered_block_nbytes = int64_t{1} << 20;
  /// Of the buffers of earlier calls at most this much is still kept while the
  /// pipeline runs: what it uses itself, and some.
  int64_t max_kept_nbytes = kMaxKeptNbytes;
  /// See IoOptions.
  Clock::Duration stall_timeout{0};
  /// If set, asked now and then, and after the last block, in the thread that
  /// runs the pipeline, which ends with the error it returns.
  std::function<Status()> proceed;
  /// Of a write: bounds it; may be null.
  std::shared_ptr<WriteRate> rate;
  /// Of a write: of the threads it starts.
  ThreadPlacement placement;
  /// Of a write: learns of every block; may be null.
  std::shared_ptr<Trace> trace;
};

/// Divides `io.max_buffer_nbytes` between workers and blocks. Every worker
/// gets at least two blocks, shrinking the blocks first, then the workers.
/// Many items take memory by themselves: up to three quarters of the budget are
/// left to their plan.
PipelineOptions ResolvePipelineOptions(const IoOptions& io,
                                       size_t item_count = 0);

}  // namespace dcp

#endif  // DCP_STAGING_PIPELINE_OPTIONS_H_
