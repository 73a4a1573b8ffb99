// WritePipeline: fills blocks of files and writes them, many at once.

#ifndef DCP_STAGING_WRITE_PIPELINE_H_
#define DCP_STAGING_WRITE_PIPELINE_H_

#include <cstddef>
#include <cstdint>
#include <memory>
#include <span>
#include <vector>

#include "dcp/file_system.h"
#include "dcp/status.h"
#include "staging/pipeline_options.h"

namespace dcp {

/// Bytes [begin, end) of a file, to be written. Where File::direct_io() is set,
/// `begin` is a multiple of the offsets' alignment, and the file ends up with
/// zero padding after `end` up to it, for the caller to cut.
struct FileRegion {
  std::shared_ptr<File> file;
  int64_t begin = 0;
  int64_t end = 0;
};

/// One transfer: part of region number `region`.
struct WriteBlock {
  size_t region = 0;
  int64_t byte_offset = 0;
  int64_t nbytes = 0;
};

enum class FillMode : uint8_t {
  kCopy,  ///< all bytes into the buffer
  /// Slices may point to the caller's memory: what reads it is the kernel,
  /// which does no harm should it be late, when the memory is gone.
  kReference,
};

/// Produces the bytes of blocks. Called from several threads, for blocks that
/// were handed out in order within their region: a Fill may wait for the Fill
/// of an earlier block of its region, never for any other.
class BlockFiller {
 public:
  virtual ~BlockFiller() = default;

  /// Appends to `slices` the memory that holds `block`, `block.nbytes` in all.
  /// kCopy: exactly one slice, the front of `buffer`. `buffer` holds at least
  /// `block.nbytes`.
  virtual Status Fill(const WriteBlock& block, FillMode mode,
                      std::span<std::byte> buffer,
                      std::vector<IoSlice>* slices) = 0;
  /// Wakes every Fill that waits; they and later ones return an error.
  virtual void Cancel() = 0;
};

/// Writes all regions. Returns when every byte was handed to the kernel (not
/// synced) or at the first error, after what was in flight has ended.
///
/// If nothing that is in flight ends within options.stall_timeout, the threads
/// that wait for it are left behind with all that they use, `filler` excepted,
/// and the error is a stall (IsStall).
///
/// Uses up to options.workers threads, each with an IoEngine and
/// blocks_per_worker buffers of its own. Files that want sequential writes
/// (`sequential`) are written in order by one thread.
enum class WriteOrder : uint8_t { kAny, kSequential };
Status RunWritePipeline(std::span<const FileRegion> regions, WriteOrder order,
                        BlockFiller& filler, const PipelineOptions& options);

}  // namespace dcp

#endif  // DCP_STAGING_WRITE_PIPELINE_H_
