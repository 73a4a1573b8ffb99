// 1. An atomic counter hands blocks to workers in the caller's order.
// 2. A worker first asks the page cache (File::ReadCached), reading straight
//    into place where the consumer allows it. A warm checkpoint is thus copied
//    once, from the cache to its destination.
// 3. What is not cached goes to the worker's engine, several blocks in flight.
//    A direct read covers the block rounded out to the alignment; the last,
//    unaligned bytes of a file come through the page cache, because a direct
//    read past the end is short by definition.
// 4. A buffer is made when the first block comes into it: the device reads into
//    the first while the kernel clears the pages of the next, and a warm
//    checkpoint needs no more than one a worker.
// 5. The first error stops the hand-out; each worker waits for its own
//    transfers before it returns.

#include "staging/read_pipeline.h"

#include <algorithm>
#include <memory>
#include <unordered_map>

#include "base/guarded.h"
#include "dcp/io_engine.h"
#include "staging/aligned_buffer.h"
#include "staging/block_queue.h"
#include "staging/buffer_cache.h"
#include "staging/proceed.h"
#include "staging/threads.h"

namespace dcp {
namespace {

using FileSizes = std::unordered_map<const File*, int64_t>;

/// What the offsets of direct reads are multiples of, over all files.
int64_t LargestAlignment(const FileSizes& files) {
  int64_t largest = 0;
  for (const auto& [file, nbytes] : files) {
    const auto direct = file->direct_io();
    if (direct) largest = std::max(largest, direct->offset);
  }
  return largest;
}

class Worker {
 public:
  /// `proceed`: null, but in the thread that runs the pipeline.
  Worker(BlockConsumer& consumer, BlockQueue<ReadBlock>& queue,
         const FileSizes& sizes, std::function<Status()> proceed)
      : consumer_(consumer),
        queue_(queue),
        sizes_(sizes),
        proceed_(std::move(proceed)) {}

  Status Prepare(const PipelineOptions& options) {
    slots_.resize(static_cast<size_t>(options.blocks_per_worker));
    for (Slot& slot : slots_) free_.push_back(&slot);
    // Room for rounding a block out to the alignment at both ends.
    buffer_nbytes_ = static_cast<size_t>(options.direct_block_nbytes +
                                         2 * LargestAlignment(sizes_));
    DCP_ASSIGN_OR_RETURN(
        engine_, MakeIoEngine({.kind = options.engine,
                               .queue_depth = options.blocks_per_worker}));
    return absl::OkStatus();
  }

  void Run() {
    Status status = Guarded([this] { return ReadBlocks(); });
    if (!status.ok()) queue_.Fail(status);
    status = Guarded([this] { return Drain(); });
    if (!status.ok()) queue_.Fail(status);
  }

  const ReadStats& stats() const { return stats_; }

 private:
  struct Slot {
    AlignedBuffer buffer;
    const ReadBlock* block = nullptr;
    std::vector<IoSlice> placed;   // where Consume finds the block
    std::vector<IoSlice> request;  // what the engine fills
    int64_t request_offset = 0;    // and where in the file it begins
  };

  Status ReadBlocks() {
    while (true) {
      while (free_.empty()) DCP_RETURN_IF_ERROR(FinishOne());
      DCP_RETURN_IF_ERROR(proceed_());
      const ReadBlock* block = queue_.Next(place_);
      if (block == nullptr) return absl::OkStatus();
      DCP_RETURN_IF_ERROR(Start(*block));
    }
  }

  Status Start(const ReadBlock& block) {
    Slot& slot = *free_.back();
    DCP_RETURN_IF_ERROR(
        RequireBuffer(buffer_nbytes_, engine_.get(), slot.buffer));
    slot.block = &block;
    const auto nbytes = static_cast<size_t>(block.nbytes);
    slot.placed.clear();
    if (!consumer_.Place(block, slot.buffer.memory(), &slot.placed)) {
      slot.placed.assign(1, {slot.buffer.memory().data(), nbytes});
    }
    const StatusOr<int64_t> cached =
        block.file->ReadCached(block.byte_offset, slot.placed);
    if (!cached.ok()) return consumer_.ReadFailed(block, cached.status());
    if (*cached == block.nbytes) {
      stats_.nbytes_cached += block.nbytes;
      return consumer_.Consume(block, slot.placed);
    }
    stats_.nbytes_device += block.nbytes;
    if (const auto direct = block.file->direct_io()) {
      const Status prepared = PrepareDirect(slot, direct->offset);
      if (!prepared.ok()) return consumer_.ReadFailed(block, prepared);
    } else {
      slot.request = slot.placed;
      slot.request_offset = block.byte_offset;
    }
    return Submit(slot);
  }

  /// Points `slot` at the block rounded out to multiples of `unit`; reads what
  /// a direct read cannot, at the end of the file, at once.
  Status PrepareDirect(Slot& slot, int64_t unit) {
    const ReadBlock& block = *slot.block;
    const int64_t file_end = sizes_.at(block.file);
    const int64_t begin = block.byte_offset / unit * unit;
    const int64_t end = block.byte_offset + block.nbytes;
    const int64_t direct_end =
        std::min((end + unit - 1) / unit * unit, file_end / unit * unit);
    std::byte* buffer = slot.buffer.memory().data();
    slot.placed.assign(1, {buffer + (block.byte_offset - begin),
                           static_cast<size_t>(block.nbytes)});
    slot.request.clear();
    slot.request_offset = begin;
    if (direct_end > begin) {
      slot.request.push_back({buffer, static_cast<size_t>(direct_end - begin)});
    }
    const int64_t tail_begin = std::max(direct_end, begin);
    if (end <= tail_begin) return absl::OkStatus();
    const IoSlice tail{buffer + (tail_begin - begin),
                       static_cast<size_t>(end - tail_begin)};
    return block.file->ReadFully(tail_begin, {&tail, 1});
  }

  Status Submit(Slot& slot) {
    if (slot.request.empty()) {
      return consumer_.Consume(*slot.block, slot.placed);
    }
    free_.pop_back();
    ++in_flight_;
    return engine_->Submit({.op = IoOp::kRead,
                            .file = slot.block->file,
                            .byte_offset = slot.request_offset,
                            .slices = slot.request,
                            .tag = static_cast<uint64_t>(&slot - &slots_[0])});
  }

  StatusOr<IoCompletion> Reap() {
    DCP_ASSIGN_OR_RETURN(IoCompletion done, engine_->Wait());
    --in_flight_;
    free_.push_back(&slots_[done.tag]);
    return done;
  }

  Status FinishOne() {
    DCP_ASSIGN_OR_RETURN(const IoCompletion done, Reap());
    const Slot& slot = slots_[done.tag];
    if (!done.status.ok()) {
      return consumer_.ReadFailed(*slot.block, done.status);
    }
    return consumer_.Consume(*slot.block, slot.placed);
  }

  /// Finishes everything in flight; after an error it only waits.
  Status Drain() {
    Status status;
    while (in_flight_ > 0) {
      const int before = in_flight_;
      const bool consume = status.ok() && queue_.status().ok();
      status.Update(consume ? FinishOne() : Reap().status());
      if (in_flight_ == before) return status;  // the engine itself broke
    }
    return status;
  }

  BlockConsumer& consumer_;
  BlockQueue<ReadBlock>& queue_;
  BlockQueue<ReadBlock>::Place place_;
  const FileSizes& sizes_;
  ProceedCheck proceed_;
  ReadStats stats_;
  std::vector<Slot> slots_;
  std::vector<Slot*> free_;
  size_t buffer_nbytes_ = 0;
  int in_flight_ = 0;
  std::unique_ptr<IoEngine> engine_;  // destroyed first: it uses the buffers
};

StatusOr<FileSizes> GetSizes(std::span<const ReadBlock> blocks) {
  FileSizes sizes;
  for (const ReadBlock& block : blocks) {
    auto [entry, is_new] = sizes.try_emplace(block.file, 0);
    if (!is_new) continue;
    DCP_ASSIGN_OR_RETURN(entry->second, block.file->Size());
  }
  return sizes;
}

}  // namespace

StatusOr<ReadStats> RunReadPipeline(std::span<const ReadBlock> blocks,
                                    BlockConsumer& consumer,
                                    const PipelineOptions& options) {
  if (blocks.empty()) return ReadStats{};
  TrimKeptBuffers(options.max_kept_nbytes);
  DCP_ASSIGN_OR_RETURN(const FileSizes sizes, GetSizes(blocks));
  BlockQueue<ReadBlock> queue(blocks);
  std::vector<std::unique_ptr<Worker>> workers;
  const size_t count =
      std::min(static_cast<size_t>(options.workers), blocks.size());
  for (size_t i = 0; i < count; ++i) {
    workers.push_back(std::make_unique<Worker>(
        consumer, queue, sizes,
        i == 0 ? options.proceed : std::function<Status()>()));
    DCP_RETURN_IF_ERROR(workers.back()->Prepare(options));
  }
  RunOnThreads(workers.size(), [&](size_t i) { workers[i]->Run(); });
  if (options.proceed) queue.Fail(options.proceed());
  DCP_RETURN_IF_ERROR(queue.status());
  ReadStats total;
  for (const auto& worker : workers) {
    total.nbytes_cached += worker->stats().nbytes_cached;
    total.nbytes_device += worker->stats().nbytes_device;
  }
  return total;
}

}  // namespace dcp
