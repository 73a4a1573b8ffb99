#include "staging/write_worker.h"

#include <algorithm>
#include <cstring>

#include "base/guarded.h"
#include "base/traced.h"

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

/// The kernel lets one thread at a time write to a file of the page cache, and
/// has the others spin: each file is a lane. Past the cache the order on the
/// disk is what matters.
std::vector<size_t> EndsOfLanes(std::span<const WriteBlock> blocks,
                                bool has_direct) {
  std::vector<size_t> ends;
  for (size_t i = 1; i < blocks.size() && !has_direct; ++i) {
    if (blocks[i].region != blocks[i - 1].region) ends.push_back(i);
  }
  ends.push_back(blocks.size());
  return ends;
}

/// What a thread that has been left behind returns to itself.
Status LeftError() { return MakeStatus(absl::StatusCode::kCancelled, {}); }

void Pad(IoSlice& slice, int64_t alignment) {
  const auto unit = static_cast<size_t>(alignment);
  const size_t padded = (slice.nbytes + unit - 1) / unit * unit;
  std::memset(slice.data + slice.nbytes, 0, padded - slice.nbytes);
  slice.nbytes = padded;
}

}  // namespace

WriteWork::WriteWork(std::span<const FileRegion> files,
                     const PipelineOptions& options)
    : regions(files.begin(), files.end()),
      has_direct(std::any_of(
          regions.begin(), regions.end(),
          [](const FileRegion& r) { return r.file->direct_io().has_value(); })),
      blocks(CutIntoBlocks(regions, options)),
      queue(blocks, EndsOfLanes(blocks, has_direct)),
      rate(options.rate),
      trace(options.trace) {}

Status WriteWorker::Prepare(const PipelineOptions& options) {
  const int count = work_.has_direct ? options.blocks_per_worker : 1;
  const int64_t block = work_.has_direct ? options.direct_block_nbytes
                                         : options.buffered_block_nbytes;
  buffer_nbytes_ = static_cast<size_t>(block);
  slots_.resize(static_cast<size_t>(count));
  for (Slot& slot : slots_) free_.push_back(&slot);
  if (!work_.has_direct) return absl::OkStatus();
  DCP_ASSIGN_OR_RETURN(engine_, MakeIoEngine({.kind = options.engine,
                                              .queue_depth = count,
                                              .placement = options.placement}));
  return absl::OkStatus();
}

void WriteWorker::Run(StallMonitor& monitor) {
  monitor_ = &monitor;
  const Status written = Guarded([this] { return WriteBlocks(); });
  if (!written.ok() && !is_left_) Fail(written);
  const Status drained = Guarded([this] { return Drain(); });
  if (!drained.ok() && !is_left_) Fail(drained);
  monitor.End(number_);
  // What is in flight still may need the buffers, which others may free.
  if (is_left_) engine_.reset();
}

void WriteWorker::Fail(const Status& status) {
  work_.queue.Fail(status);
  filler_.Cancel();
}

Status WriteWorker::WriteBlocks() {
  while (true) {
    while (free_.empty()) DCP_RETURN_IF_ERROR(Reap());
    const WriteBlock* block = work_.queue.Next(place_);
    if (block == nullptr) return absl::OkStatus();
    if (work_.rate != nullptr) {
      work_.rate->Await(block->nbytes, [this] { return work_.queue.failed(); });
      if (work_.queue.failed()) return absl::OkStatus();
    }
    DCP_RETURN_IF_ERROR(WriteOne(*block));
  }
}

Status WriteWorker::WriteOne(const WriteBlock& block) {
  File& file = *work_.regions[block.region].file;
  Slot& slot = *free_.back();
  DCP_RETURN_IF_ERROR(
      RequireBuffer(buffer_nbytes_, engine_.get(), slot.buffer));
  slot.slices.clear();
  const auto direct = file.direct_io();
  // Without a descriptor it is not the kernel that reads the slices.
  const bool copies = direct || file.fd() < 0;
  {
    const ScopedSpan span(work_.trace.get(), "fill", block.nbytes);
    DCP_RETURN_IF_ERROR(
        filler_.Fill(block, copies ? FillMode::kCopy : FillMode::kReference,
                     slot.buffer.memory(), &slot.slices));
  }
  slot.name = {.op = "pwrite",
               .path = file.path(),
               .byte_offset = block.byte_offset,
               .nbytes = block.nbytes};
  if (direct) {
    Pad(slot.slices[0], direct->offset);
    return Submit(block, slot);
  }
  const ScopedSpan span(work_.trace.get(), "write", block.nbytes);
  return Watched(slot.name, [&] {
    return file.WriteFully(block.byte_offset, slot.slices);
  });
}

Status WriteWorker::Submit(const WriteBlock& block, Slot& slot) {
  const ScopedSpan span(work_.trace.get(), "submit", block.nbytes);
  slot.submitted = std::chrono::steady_clock::now();
  return Watched(slot.name, [&]() -> Status {
    DCP_RETURN_IF_ERROR(
        engine_->Submit({.op = IoOp::kWrite,
                         .file = work_.regions[block.region].file.get(),
                         .byte_offset = block.byte_offset,
                         .slices = slot.slices,
                         .tag = static_cast<uint64_t>(&slot - &slots_[0])}));
    free_.pop_back();
    ++in_flight_;
    slot.in_flight_as = submitted_++;
    return absl::OkStatus();
  });
}

Status WriteWorker::Reap() {
  return Watched(OldestInFlight().name, [this]() -> Status {
    DCP_ASSIGN_OR_RETURN(const IoCompletion done, engine_->Wait());
    --in_flight_;
    Slot& slot = slots_[done.tag];
    if (work_.trace != nullptr) {
      work_.trace->Add("write", slot.submitted,
                       std::chrono::steady_clock::now(),
                       slot.name.nbytes.value_or(0));
    }
    slot.in_flight_as = -1;
    free_.push_back(&slot);
    return done.status;
  });
}

const WriteWorker::Slot& WriteWorker::OldestInFlight() const {
  const auto order = [](const Slot& slot) {
    return static_cast<uint64_t>(slot.in_flight_as);  // -1 is the last
  };
  return *std::min_element(
      slots_.begin(), slots_.end(),
      [&](const Slot& a, const Slot& b) { return order(a) < order(b); });
}

/// Waits for everything in flight, also after an error. Left behind, a thread
/// leaves that to the engine's destructor.
Status WriteWorker::Drain() {
  Status status;
  while (in_flight_ > 0 && !is_left_) {
    const int before = in_flight_;
    status.Update(Reap());
    if (in_flight_ == before) return status;  // the engine itself broke
  }
  return status;
}

/// Makes a call that may not return. Not OK once this thread is left behind.
template <typename Call>
Status WriteWorker::Watched(const ErrorDetail& name, const Call& call) {
  is_left_ = is_left_ || !monitor_->Enter(number_, name);
  if (is_left_) return LeftError();
  const Status status = Guarded(call);
  is_left_ = !monitor_->Leave(number_);
  return is_left_ ? LeftError() : status;
}

}  // namespace dcp
