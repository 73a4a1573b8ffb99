// ReadPipeline: reads blocks of files, many at once, and hands them on.

#ifndef DCP_STAGING_READ_PIPELINE_H_
#define DCP_STAGING_READ_PIPELINE_H_

#include <cstddef>
#include <cstdint>
#include <span>
#include <vector>

#include "dcp/file_system.h"
#include "dcp/status.h"
#include "staging/pipeline_options.h"

namespace dcp {

/// Bytes of a file that are read and consumed together.
struct ReadBlock {
  File* file = nullptr;
  int64_t byte_offset = 0;
  int64_t nbytes = 0;
  uint64_t tag = 0;  ///< the consumer's own
};

/// Takes the bytes of blocks. Called from several threads, in any order.
class BlockConsumer {
 public:
  virtual ~BlockConsumer() = default;

  /// Offers to read `block` straight into place: appends slices of
  /// `block.nbytes` in all to `slices` and returns true. `scratch`, of
  /// `block.nbytes` bytes at least, may serve for the bytes nobody wants.
  /// Returning false has the block read into a buffer.
  virtual bool Place(const ReadBlock& block, std::span<std::byte> scratch,
                     std::vector<IoSlice>* slices) = 0;

  /// The bytes of `block` are in `slices`, in order: in those of Place, or in
  /// one buffer that is reused after the call.
  virtual Status Consume(const ReadBlock& block,
                         std::span<const IoSlice> slices) = 0;

  /// `block` could not be read. What is returned ends the reading, unless it
  /// is OK.
  virtual Status ReadFailed(const ReadBlock& block, const Status& error) {
    static_cast<void>(block);
    return error;
  }
};

/// What was moved, for reports and tests.
struct ReadStats {
  int64_t nbytes_cached = 0;  ///< found in the page cache
  int64_t nbytes_device = 0;  ///< read past it, or waited for
};

/// Reads all `blocks`, none larger than options.direct_block_nbytes. What is
/// in the page cache is copied from there; the rest goes past the cache where
/// File::direct_io() is set. Returns after the last Consume, or at the first
/// error, after what was in flight has ended.
StatusOr<ReadStats> RunReadPipeline(std::span<const ReadBlock> blocks,
                                    BlockConsumer& consumer,
                                    const PipelineOptions& options);

}  // namespace dcp

#endif  // DCP_STAGING_READ_PIPELINE_H_
