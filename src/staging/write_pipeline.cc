// 1. The regions are cut into blocks; an atomic counter hands them out in file
//    order.
// 2. A worker takes a block only when it has a free buffer, so that every
//    block handed out is being filled and a Fill may wait for earlier blocks
//    without a deadlock.
// 3. Direct files: blocks are large, copied into aligned buffers and kept in
//    flight by the worker's engine. Other files: blocks are small, refer to
//    the caller's memory where they can, and are written by the worker itself,
//    because the kernel copies them anyway and serializes writers of an inode.
// 4. The first error stops the hand-out; each worker waits for its own
//    transfers before it returns, so that no buffer is freed under the kernel.

#include "staging/write_pipeline.h"

#include <algorithm>
#include <cstring>
#include <memory>
#include <utility>

#include "dcp/io_engine.h"
#include "staging/aligned_buffer.h"
#include "staging/block_queue.h"
#include "staging/threads.h"

namespace dcp {
namespace {

/// Cuts the regions into transfers, in file order.
std::vector<WriteBlock> CutIntoBlocks(std::span<const FileRegion> regions,
                                      const PipelineOptions& options) {
  std::vector<WriteBlock> blocks;
  for (size_t r = 0; r < regions.size(); ++r) {
    const FileRegion& region = regions[r];
    const int64_t step = region.file->direct_io()
                             ? options.direct_block_nbytes
                             : options.buffered_block_nbytes;
    // Blocks end on multiples of their size, so that all but the first and the
    // last are whole cells of the checksum grid.
    for (int64_t begin = region.begin; begin < region.end;) {
      const int64_t end = std::min(region.end, (begin / step + 1) * step);
      blocks.push_back(
          {.region = r, .byte_offset = begin, .nbytes = end - begin});
      begin = end;
    }
  }
  return blocks;
}

/// One thread's share: an engine, buffers, transfers in flight.
class Worker {
 public:
  Worker(std::span<const FileRegion> regions, BlockFiller& filler,
         BlockQueue<WriteBlock>& queue)
      : regions_(regions), filler_(filler), queue_(queue) {}

  Status Prepare(const PipelineOptions& options, bool direct) {
    const int count = direct ? options.blocks_per_worker : 1;
    const int64_t block =
        direct ? options.direct_block_nbytes : options.buffered_block_nbytes;
    buffer_nbytes_ = static_cast<size_t>(block);
    slots_.resize(static_cast<size_t>(count));
    for (Slot& slot : slots_) free_.push_back(&slot);
    if (!direct) return absl::OkStatus();
    DCP_ASSIGN_OR_RETURN(
        engine_, MakeIoEngine({.kind = options.engine, .queue_depth = count}));
    return absl::OkStatus();
  }

  void Run() {
    Status status = WriteBlocks();
    if (!status.ok()) Fail(status);
    status = Drain();
    if (!status.ok()) Fail(status);
  }

 private:
  struct Slot {
    AlignedBuffer buffer;
    std::vector<IoSlice> slices;
  };

  void Fail(const Status& status) {
    queue_.Fail(status);
    filler_.Cancel();
  }

  Status WriteBlocks() {
    while (true) {
      while (free_.empty()) DCP_RETURN_IF_ERROR(Reap());
      const WriteBlock* block = queue_.Next();
      if (block == nullptr) return absl::OkStatus();
      DCP_RETURN_IF_ERROR(WriteOne(*block));
    }
  }

  Status WriteOne(const WriteBlock& block) {
    File* file = regions_[block.region].file;
    const auto direct = file->direct_io();
    Slot* slot = free_.back();
    DCP_RETURN_IF_ERROR(
        RequireBuffer(buffer_nbytes_, engine_.get(), slot->buffer));
    slot->slices.clear();
    DCP_RETURN_IF_ERROR(
        filler_.Fill(block, direct ? FillMode::kCopy : FillMode::kReference,
                     slot->buffer.memory(), &slot->slices));
    if (!direct) return file->WriteFully(block.byte_offset, slot->slices);
    Pad(slot->slices[0], direct->offset);
    free_.pop_back();
    ++in_flight_;
    return engine_->Submit({.op = IoOp::kWrite,
                            .file = file,
                            .byte_offset = block.byte_offset,
                            .slices = slot->slices,
                            .tag = static_cast<uint64_t>(slot - &slots_[0])});
  }

  static void Pad(IoSlice& slice, int64_t alignment) {
    const auto unit = static_cast<size_t>(alignment);
    const size_t padded = (slice.nbytes + unit - 1) / unit * unit;
    std::memset(slice.data + slice.nbytes, 0, padded - slice.nbytes);
    slice.nbytes = padded;
  }

  Status Reap() {
    DCP_ASSIGN_OR_RETURN(IoCompletion done, engine_->Wait());
    --in_flight_;
    free_.push_back(&slots_[done.tag]);
    return done.status;
  }

  /// Waits for everything in flight, also after an error.
  Status Drain() {
    Status status;
    while (in_flight_ > 0) {
      const int before = in_flight_;
      status.Update(Reap());
      if (in_flight_ == before) return status;  // the engine itself broke
    }
    return status;
  }

  std::span<const FileRegion> regions_;
  BlockFiller& filler_;
  BlockQueue<WriteBlock>& queue_;
  std::vector<Slot> slots_;
  std::vector<Slot*> free_;
  size_t buffer_nbytes_ = 0;
  int in_flight_ = 0;
  std::unique_ptr<IoEngine> engine_;  // destroyed first: it uses the buffers
};

}  // namespace

Status RunWritePipeline(std::span<const FileRegion> regions, WriteOrder order,
                        BlockFiller& filler, const PipelineOptions& options) {
  // Asked for before blocks are cut: a file may refuse direct I/O later on, and
  // buffers must be as large as blocks.
  const bool direct = std::any_of(
      regions.begin(), regions.end(),
      [](const FileRegion& r) { return r.file->direct_io().has_value(); });
  const std::vector<WriteBlock> blocks = CutIntoBlocks(regions, options);
  if (blocks.empty()) return absl::OkStatus();
  BlockQueue<WriteBlock> queue(blocks);
  const size_t wanted = order == WriteOrder::kSequential
                            ? size_t{1}
                            : static_cast<size_t>(options.workers);
  std::vector<std::unique_ptr<Worker>> workers;
  for (size_t i = 0; i < std::min(wanted, blocks.size()); ++i) {
    workers.push_back(std::make_unique<Worker>(regions, filler, queue));
    DCP_RETURN_IF_ERROR(workers.back()->Prepare(options, direct));
  }
  RunOnThreads(workers.size(), [&](size_t i) { workers[i]->Run(); });
  return queue.status();
}

}  // namespace dcp
