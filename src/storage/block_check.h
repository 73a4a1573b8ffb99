// BlockCheck: blocks of files that are read to be checked, not to be kept.

#ifndef DCP_STORAGE_BLOCK_CHECK_H_
#define DCP_STORAGE_BLOCK_CHECK_H_

#include <cstddef>
#include <cstdint>
#include <memory>
#include <span>
#include <vector>

#include "dcp/file_system.h"
#include "dcp/status.h"
#include "staging/read_pipeline.h"

namespace dcp {

/// Part of a file that a BlockCheck wants to see.
struct CheckedBlock {
  uint32_t number = 0;  ///< the check's own
  int64_t byte_offset = 0;
  int64_t nbytes = 0;
};

/// Looks at blocks of one file. Blocks come in any order, from several threads.
class BlockCheck {
 public:
  virtual ~BlockCheck() = default;

  virtual File& file() = 0;
  /// None larger than `max_nbytes`, a whole number of mebibytes.
  virtual std::vector<CheckedBlock> Blocks(int64_t max_nbytes) = 0;
  virtual void Check(const CheckedBlock& block,
                     std::span<const std::byte> bytes) = 0;
  virtual void ReadFailed(const CheckedBlock& block, const Status& error) = 0;
  /// Called once, after all blocks.
  virtual void Finish() = 0;
};

/// Reads all blocks of all `checks`, many at once, and finishes the checks.
/// \error what keeps the pipeline itself from working; reads that fail are
///     reported to their checks
Status RunBlockChecks(std::span<const std::unique_ptr<BlockCheck>> checks,
                      const PipelineOptions& options);

}  // namespace dcp

#endif  // DCP_STORAGE_BLOCK_CHECK_H_
