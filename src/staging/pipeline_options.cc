#include "staging/pipeline_options.h"

#include <algorithm>
#include <thread>

namespace dcp {
namespace {

// More workers than this do not help one rank: at 5 GB/s and more each, memory
// bandwidth and the other ranks of the node are next.
constexpr int kMaxDefaultWorkers = 4;
constexpr int kMaxBlocksPerWorker = 32;
constexpr int64_t kMinBlock = int64_t{1} << 20;
// What the plan and the metadata of one item take, or less.
constexpr int64_t kItemNbytes = 1536;

int DefaultWorkers() {
  const int cores = static_cast<int>(std::thread::hardware_concurrency());
  return std::clamp(cores, 1, kMaxDefaultWorkers);
}

}  // namespace

PipelineOptions ResolvePipelineOptions(const IoOptions& io, size_t item_count) {
  const int64_t planned =
      std::min(static_cast<int64_t>(item_count) * kItemNbytes,
               io.max_buffer_nbytes / 8 * 7);
  // In whole blocks: a few items leave the budget as it is.
  const int64_t unit = std::max(io.block_nbytes, kMinBlock);
  const int64_t kept = planned / unit * unit;
  const int64_t budget = std::max(io.max_buffer_nbytes - kept, 2 * kMinBlock);
  PipelineOptions options;
  options.engine = io.engine;
  options.stall_timeout = io.stall_timeout;
  options.placement = io.placement;
  options.workers = io.workers > 0 ? io.workers : DefaultWorkers();
  // Whole mebibytes keep blocks on the grid of the block checksums.
  int64_t block = std::max(io.block_nbytes / kMinBlock, int64_t{1}) * kMinBlock;
  while (block > kMinBlock && 2 * block * options.workers > budget) {
    block = std::max(block / kMinBlock / 2, int64_t{1}) * kMinBlock;
  }
  while (options.workers > 1 && 2 * block * options.workers > budget) {
    --options.workers;
  }
  options.direct_block_nbytes = block;
  options.buffered_block_nbytes = std::min(block, kMinBlock);
  options.blocks_per_worker = static_cast<int>(std::clamp<int64_t>(
      budget / (block * options.workers), 2, kMaxBlocksPerWorker));
  options.max_kept_nbytes = std::min(budget + budget / 16, kMaxKeptNbytes);
  return options;
}

}  // namespace dcp
