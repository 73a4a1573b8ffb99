#include "storage/extent.h"

#include <algorithm>
#include <memory>
#include <string>
#include <utility>

#include "base/checksum.h"
#include "storage/block_checksums.h"

namespace dcp {
namespace {

// Shorter pieces are not worth a slice of their own.
constexpr int64_t kMinInPlace = int64_t{16} << 10;
// Skipping fewer bytes than this costs a device more than reading them.
constexpr int64_t kMinGap = int64_t{64} << 10;

/// Moves through the slices of a block.
class SliceCursor {
 public:
  explicit SliceCursor(std::span<const IoSlice> slices) : slices_(slices) {}

  /// Calls `visit(bytes)` for the next `nbytes`, in order.
  template <typename Visitor>
  Status Walk(int64_t nbytes, Visitor&& visit) {
    while (nbytes > 0) {
      const IoSlice& slice = slices_[slice_];
      const size_t n =
          std::min(static_cast<size_t>(nbytes), slice.nbytes - used_);
      DCP_RETURN_IF_ERROR(
          visit(std::span<const std::byte>(slice.data + used_, n)));
      nbytes -= static_cast<int64_t>(n);
      used_ += n;
      if (used_ == slice.nbytes) {
        ++slice_;
        used_ = 0;
      }
    }
    return absl::OkStatus();
  }

 private:
  std::span<const IoSlice> slices_;
  size_t slice_ = 0;
  size_t used_ = 0;
};

/// Verifies blocks and hands their bytes to the sinks.
class ExtentConsumer final : public BlockConsumer {
 public:
  explicit ExtentConsumer(std::span<const std::unique_ptr<ExtentReads>> files)
      : files_(files) {}

  static uint64_t Tag(size_t file, size_t range) {
    return (static_cast<uint64_t>(file) << 40) | range;
  }

  bool Place(const ReadBlock& block, std::span<std::byte> scratch,
             std::vector<IoSlice>* slices) override {
    const ExtentReads& reads = FileOf(block);
    int64_t position = block.byte_offset;
    const int64_t end = block.byte_offset + block.nbytes;
    const auto& extents = reads.file().extents;
    for (size_t i = FirstExtent(block);
         i < extents.size() && extents[i].begin < end; ++i) {
      const int64_t from = std::max(extents[i].begin, block.byte_offset);
      const int64_t to = std::min(extents[i].end, end);
      if (from >= to) continue;
      // Two items in the same bytes cannot both be read into place.
      if (from < position || to - from < kMinInPlace) return false;
      std::byte* memory = extents[i].sink->InPlace(from, to);
      if (memory == nullptr) return false;
      if (from > position) AddScratch(from - position, &scratch, slices);
      slices->push_back({memory, static_cast<size_t>(to - from)});
      position = to;
    }
    if (end > position) AddScratch(end - position, &scratch, slices);
    return true;
  }

  Status Consume(const ReadBlock& block,
                 std::span<const IoSlice> slices) override {
    const ExtentReads& reads = FileOf(block);
    if (reads.file().checksums != nullptr) {
      DCP_RETURN_IF_ERROR(Verify(block, slices));
    }
    const int64_t end = block.byte_offset + block.nbytes;
    const auto& extents = reads.file().extents;
    for (size_t i = FirstExtent(block);
         i < extents.size() && extents[i].begin < end; ++i) {
      int64_t from = std::max(extents[i].begin, block.byte_offset);
      const int64_t to = std::min(extents[i].end, end);
      if (from >= to) continue;
      SliceCursor cursor(slices);
      DCP_RETURN_IF_ERROR(cursor.Walk(from - block.byte_offset,
                                      [](auto) { return absl::OkStatus(); }));
      DCP_RETURN_IF_ERROR(
          cursor.Walk(to - from, [&](std::span<const std::byte> bytes) {
            Status status = extents[i].sink->Write(from, bytes);
            from += static_cast<int64_t>(bytes.size());
            return status;
          }));
    }
    return absl::OkStatus();
  }

 private:
  const ExtentReads& FileOf(const ReadBlock& block) const {
    return *files_[static_cast<size_t>(block.tag >> 40)];
  }
  size_t FirstExtent(const ReadBlock& block) const {
    const uint64_t range = block.tag & ((uint64_t{1} << 40) - 1);
    return FileOf(block).ranges()[range].first_extent;
  }

  static void AddScratch(int64_t nbytes, std::span<std::byte>* scratch,
                         std::vector<IoSlice>* slices) {
    const auto n = static_cast<size_t>(nbytes);
    slices->push_back({scratch->data(), n});
    *scratch = scratch->subspan(n);
  }

  Status Verify(const ReadBlock& block, std::span<const IoSlice> slices) const {
    const SidecarFile& recorded = *FileOf(block).file().checksums;
    SliceCursor cursor(slices);
    const int64_t end = block.byte_offset + block.nbytes;
    for (int64_t cell = block.byte_offset; cell < end; cell += kChecksumBlock) {
      uint32_t crc = 0;
      const int64_t nbytes = std::min(kChecksumBlock, end - cell);
      DCP_RETURN_IF_ERROR(
          cursor.Walk(nbytes, [&](std::span<const std::byte> bytes) {
            crc = Crc32(crc, bytes);
            return absl::OkStatus();
          }));
      const auto index = static_cast<size_t>(cell / kChecksumBlock);
      if (crc != recorded.block_crcs[index]) {
        return CellCorruption(block, cell, nbytes);
      }
    }
    return absl::OkStatus();
  }

  /// Names what is being read from the damaged cell of the grid.
  Status CellCorruption(const ReadBlock& block, int64_t cell,
                        int64_t nbytes) const {
    std::string first;
    std::string_view last;
    int64_t others = 0;
    const auto& extents = FileOf(block).file().extents;
    for (size_t i = FirstExtent(block);
         i < extents.size() && extents[i].begin < cell + nbytes; ++i) {
      const std::string_view key = extents[i].sink->key();
      if (extents[i].end <= cell || key == last) continue;
      last = key;
      if (first.empty()) {
        first = key;
      } else {
        ++others;
      }
    }
    std::string what = "stored bytes differ from their recorded CRC-32";
    if (others > 0) {
      what += " (of this item or " + std::to_string(others) +
              " more that share the range)";
    }
    return CorruptionError(what, {.op = "verify",
                                  .path = block.file->path(),
                                  .byte_offset = cell,
                                  .nbytes = nbytes,
                                  .fqn = std::move(first)});
  }

  std::span<const std::unique_ptr<ExtentReads>> files_;
};

}  // namespace

ExtentReads::ExtentReads(FileExtents reads, int64_t max_block_nbytes)
    : file_(std::move(reads)) {
  std::sort(file_.extents.begin(), file_.extents.end(),
            [](const Extent& a, const Extent& b) { return a.begin < b.begin; });
  if (file_.checksums != nullptr) {
    CutByGrid(max_block_nbytes);
  } else {
    CutByExtent(max_block_nbytes);
  }
}

void ExtentReads::CutByGrid(int64_t max_block_nbytes) {
  const int64_t step =
      std::max(max_block_nbytes / kChecksumBlock, int64_t{1}) * kChecksumBlock;
  size_t first = 0;
  for (size_t i = 0; i < file_.extents.size(); ++i) {
    const Extent& extent = file_.extents[i];
    const int64_t wanted_end =
        std::min(file_.file_nbytes, (extent.end + kChecksumBlock - 1) /
                                        kChecksumBlock * kChecksumBlock);
    int64_t begin = extent.begin / kChecksumBlock * kChecksumBlock;
    if (!ranges_.empty()) {
      Range& last = ranges_.back();
      begin = std::max(begin, last.end);
      // Grow the last read while it stays in its slot of the coarse grid.
      const int64_t slot_end = (last.begin / step + 1) * step;
      if (begin == last.end && begin < slot_end) {
        last.end = std::max(last.end, std::min(wanted_end, slot_end));
        begin = last.end;
      }
    }
    while (begin < wanted_end) {
      const int64_t end = std::min(wanted_end, (begin / step + 1) * step);
      while (file_.extents[first].end <= begin && first < i) ++first;
      ranges_.push_back({.begin = begin, .end = end, .first_extent = first});
      begin = end;
    }
  }
}

void ExtentReads::CutByExtent(int64_t max_block_nbytes) {
  size_t first = 0;
  for (size_t i = 0; i < file_.extents.size(); ++i) {
    const Extent& extent = file_.extents[i];
    // Cuts lie at whole multiples of the block from the extent's own start:
    // no element of a tensor is cut in two.
    int64_t begin = extent.begin;
    if (!ranges_.empty()) {
      Range& last = ranges_.back();
      const bool near = extent.begin <= last.end + kMinGap;
      const bool fits =
          std::max(extent.end, last.end) - last.begin <= max_block_nbytes;
      if (near && fits) {
        last.end = std::max(last.end, extent.end);
        continue;
      }
      // Bytes that an earlier extent has read are not read again.
      begin = std::max(begin, last.end);
    }
    while (begin < extent.end) {
      while (file_.extents[first].end <= begin && first < i) ++first;
      const int64_t end = std::min(extent.end, begin + max_block_nbytes);
      ranges_.push_back({.begin = begin, .end = end, .first_extent = first});
      begin = end;
    }
  }
}

StatusOr<ReadStats> ReadExtents(std::vector<FileExtents> files,
                                const PipelineOptions& options) {
  std::vector<std::unique_ptr<ExtentReads>> reads;
  std::vector<ReadBlock> blocks;
  for (FileExtents& file : files) {
    const bool direct = file.file->direct_io().has_value();
    const size_t number = reads.size();
    reads.push_back(std::make_unique<ExtentReads>(
        std::move(file),
        direct ? options.direct_block_nbytes : options.buffered_block_nbytes));
    const auto& ranges = reads.back()->ranges();
    for (size_t r = 0; r < ranges.size(); ++r) {
      blocks.push_back({.file = reads.back()->file().file,
                        .byte_offset = ranges[r].begin,
                        .nbytes = ranges[r].end - ranges[r].begin,
                        .tag = ExtentConsumer::Tag(number, r)});
    }
  }
  ExtentConsumer consumer(reads);
  return RunReadPipeline(blocks, consumer, options);
}

}  // namespace dcp
