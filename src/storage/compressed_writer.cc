// Each item becomes one zstd frame (torch's stream.zstd/1). Small items are
// compressed side by side, a batch at a time; a large one uses zstd's own
// threads. Frames are appended in file order: where an item lies is known only
// when the one before it is compressed.

#include <algorithm>
#include <cstring>
#include <string>
#include <utility>

#include "base/checksum.h"
#include "format/zstd_transform.h"
#include "staging/aligned_buffer.h"
#include "staging/proceed.h"
#include "staging/threads.h"
#include "storage/write_items.h"

namespace dcp {
namespace {

constexpr int64_t kStep = int64_t{1} << 20;
// Items up to this size are compressed whole, several at once.
constexpr int64_t kSmallItem = int64_t{4} << 20;
constexpr int64_t kBatchNbytes = int64_t{32} << 20;

/// Appends to a data file in whole cells of the checksum grid.
class Appender {
 public:
  Appender(DataFile& file, const ItemWriter& writer)
      : file_(file),
        proceed_([&writer] { return writer.source.Proceed(); }),
        rate_(writer.rate) {}

  int64_t position() const {
    return written_ + static_cast<int64_t>(pending_.size());
  }

  Status Append(std::span<const std::byte> bytes) {
    while (!bytes.empty()) {
      const auto room = static_cast<size_t>(kChecksumBlock) - pending_.size();
      const auto part = bytes.first(std::min(room, bytes.size()));
      pending_.insert(pending_.end(), part.begin(), part.end());
      bytes = bytes.subspan(part.size());
      if (pending_.size() == static_cast<size_t>(kChecksumBlock)) {
        DCP_RETURN_IF_ERROR(Flush());
      }
    }
    return absl::OkStatus();
  }

  Status Flush() {
    DCP_RETURN_IF_ERROR(proceed_());
    const auto nbytes = static_cast<int64_t>(pending_.size());
    if (nbytes == 0) return absl::OkStatus();
    if (rate_ != nullptr) {
      Status going;
      rate_->Await(nbytes, [&] { return !(going = proceed_()).ok(); });
      DCP_RETURN_IF_ERROR(going);
    }
    file_.checksums().Add(written_, nbytes, Crc32(0, pending_));
    const IoSlice slice{pending_.data(), pending_.size()};
    DCP_RETURN_IF_ERROR(file_.file().WriteFully(written_, {&slice, 1}));
    written_ += nbytes;
    pending_.clear();
    return absl::OkStatus();
  }

 private:
  DataFile& file_;
  ProceedCheck proceed_;
  const std::shared_ptr<WriteRate> rate_;
  int64_t written_ = 0;
  std::vector<std::byte> pending_;
};

class CompressedFile {
 public:
  CompressedFile(const ItemWriter& writer, const FileItems& work)
      : writer_(writer),
        work_(work),
        appender_(*work.file, writer),
        workers_(ResolvePipelineOptions(writer.options.io).workers) {}

  Status Write() {
    size_t i = 0;
    while (i < work_.items.size()) {
      const size_t end = EndOfBatch(i);
      DCP_RETURN_IF_ERROR(end > i ? WriteBatch(i, end) : WriteLarge(i));
      writer_.source.Release();
      i = std::max(end, i + 1);
    }
    return appender_.Flush();
  }

 private:
  /// End of the run of small items from `begin` on that may be resolved at
  /// once; `begin` if its item is large.
  size_t EndOfBatch(size_t begin) const {
    const int64_t limit =
        std::min(kBatchNbytes, writer_.source.max_resolved_nbytes());
    int64_t nbytes = 0;
    size_t end = begin;
    while (end < work_.items.size() && work_.items[end]->nbytes <= kSmallItem &&
           (nbytes == 0 || nbytes + work_.items[end]->nbytes <= limit)) {
      nbytes += work_.items[end]->nbytes;
      ++end;
    }
    return end;
  }

  Status WriteBatch(size_t begin, size_t end) {
    std::vector<ImageItem> images;
    for (size_t i = begin; i < end; ++i) {
      DCP_ASSIGN_OR_RETURN(ImageItem image, Resolve(*work_.items[i]));
      images.push_back(std::move(image));
    }
    std::vector<StatusOr<std::string>> frames(images.size());
    const auto threads = std::min(images.size(), static_cast<size_t>(workers_));
    RunOnThreads(threads, [&](size_t thread) {
      for (size_t i = thread; i < images.size(); i += threads) {
        frames[i] = Compress(std::move(images[i]));
      }
    });
    for (size_t i = begin; i < end; ++i) {
      DCP_ASSIGN_OR_RETURN(const std::string frame,
                           std::move(frames[i - begin]));
      const int64_t offset = appender_.position();
      DCP_RETURN_IF_ERROR(appender_.Append(std::as_bytes(std::span(frame))));
      AddItem(*work_.items[i], offset);
    }
    return absl::OkStatus();
  }

  StatusOr<std::string> Compress(ImageItem image) const {
    std::string frame;
    DCP_ASSIGN_OR_RETURN(
        auto zstd,
        ZstdFrameWriter::Make({}, [&](std::span<const std::byte> bytes) {
          frame.append(reinterpret_cast<const char*>(bytes.data()),
                       bytes.size());
          return absl::OkStatus();
        }));
    DCP_RETURN_IF_ERROR(Feed(std::move(image), *zstd));
    return frame;
  }

  Status WriteLarge(size_t i) {
    DCP_ASSIGN_OR_RETURN(ImageItem image, Resolve(*work_.items[i]));
    const int64_t offset = appender_.position();
    DCP_ASSIGN_OR_RETURN(
        auto zstd, ZstdFrameWriter::Make({.workers = workers_},
                                         [&](std::span<const std::byte> bytes) {
                                           return appender_.Append(bytes);
                                         }));
    DCP_RETURN_IF_ERROR(Feed(std::move(image), *zstd));
    AddItem(*work_.items[i], offset);
    return absl::OkStatus();
  }

  /// Compresses one item, a step at a time.
  Status Feed(ImageItem item, ZstdFrameWriter& zstd) const {
    const int64_t length = item.length;
    BlockChecksums unused;  // checksums are of what is stored, the frames
    std::vector<ImageItem> items;
    items.push_back(std::move(item));
    FileImage image(std::move(items), writer_.device, unused);
    std::vector<std::byte> buffer(static_cast<size_t>(std::min(kStep, length)));
    for (int64_t at = 0; at < length; at += kStep) {
      std::vector<IoSlice> slices;
      DCP_RETURN_IF_ERROR(image.Fill(at, std::min(kStep, length - at),
                                     FillMode::kReference, buffer, &slices));
      for (const IoSlice& slice : slices) {
        DCP_RETURN_IF_ERROR(zstd.Write({slice.data, slice.nbytes}));
      }
    }
    return zstd.Finish();
  }

  StatusOr<ImageItem> Resolve(const WriteItem& item) const {
    DCP_ASSIGN_OR_RETURN(const WritePayload payload,
                         ResolveItem(writer_.source, item));
    return MakeImageItem(payload, writer_.options, 0);
  }

  void AddItem(const WriteItem& item, int64_t offset) {
    work_.file->AddItem(
        item, {.offset = offset, .length = appender_.position() - offset});
  }

  const ItemWriter& writer_;
  const FileItems& work_;
  Appender appender_;
  const int workers_;
};

}  // namespace

Status WriteCompressedItems(const ItemWriter& writer,
                            std::span<const FileItems> work) {
  Status written;
  RunPlaced(writer.options.io.placement, [&] {
    for (size_t i = 0; written.ok() && i < work.size(); ++i) {
      work[i].file->SetTransforms({std::string(kZstdDescriptor)});
      written = CompressedFile(writer, work[i]).Write();
    }
  });
  return written;
}

}  // namespace dcp
