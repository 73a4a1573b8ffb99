// 1. The frame is read in steps, in whole cells of the checksum grid where the
//    sidecar has checksums for them.
// 2. A small item is decompressed into memory and decoded like any other.
// 3. A large tensor is not held in memory. A first pass finds the zip
//    directory at the item's end and where the data lies; a second one delivers
//    the data as it comes, checking its CRC-32.

#include "storage/compressed_item.h"

#include <algorithm>
#include <atomic>
#include <cstring>
#include <string>
#include <utility>
#include <vector>

#include "base/checksum.h"
#include "format/torch_item_reader.h"
#include "format/zstd_transform.h"
#include "staging/proceed.h"
#include "staging/threads.h"
#include "storage/block_checksums.h"
#include "storage/tensor_sink.h"

namespace dcp {
namespace {

constexpr int64_t kStep = kChecksumBlock;
// Larger tensors are streamed.
constexpr int64_t kMaxInMemory = int64_t{16} << 20;
// No object of a trainer's state comes near this; a bomb does.
constexpr int64_t kMaxObject = int64_t{1} << 30;
// What the zip around a tensor adds at most, and the largest element.
constexpr int64_t kMaxZip = int64_t{2} << 20;
constexpr int64_t kMaxItemSize = 16;
// No real tensor has more elements; the bound keeps bytes within int64.
constexpr int64_t kMaxNumel = int64_t{1} << 56;

/// Feeds the stored bytes of an item to a frame reader.
class FrameSource {
 public:
  FrameSource(const StoredItem& item, const OpenFile& file, bool verify)
      : item_(item), file_(file), verify_(verify && file.record != nullptr) {}

  Status FeedTo(ZstdFrameReader& reader) {
    const int64_t end = item_.info.offset + item_.info.length;
    std::vector<std::byte> buffer(static_cast<size_t>(kStep));
    for (int64_t at = item_.info.offset; at < end;) {
      const int64_t cell = at / kStep * kStep;
      const int64_t next = std::min(end, cell + kStep);
      const int64_t from = verify_ ? cell : at;
      const int64_t to = verify_ ? std::min(cell + kStep, file_.nbytes) : next;
      const IoSlice slice{buffer.data(), static_cast<size_t>(to - from)};
      DCP_RETURN_IF_ERROR(file_.file->ReadFully(from, {&slice, 1}));
      if (verify_) DCP_RETURN_IF_ERROR(Check(cell, slice));
      DCP_RETURN_IF_ERROR(reader.Write(
          {buffer.data() + (at - from), static_cast<size_t>(next - at)}));
      at = next;
    }
    return reader.Finish();
  }

 private:
  Status Check(int64_t cell, const IoSlice& bytes) const {
    const uint32_t recorded =
        file_.record->block_crcs[static_cast<size_t>(cell / kStep)];
    if (Crc32(0, {bytes.data, bytes.nbytes}) == recorded) {
      return absl::OkStatus();
    }
    const auto nbytes = static_cast<int64_t>(bytes.nbytes);
    const StorageInfo& info = item_.info;
    const bool shared =
        cell < info.offset || info.offset + info.length < cell + nbytes;
    std::string what = "stored bytes differ from their recorded CRC-32";
    if (shared) what += " (of this item or others that share the range)";
    return CorruptionError(what, {.op = "verify",
                                  .path = file_.file->path(),
                                  .byte_offset = cell,
                                  .nbytes = nbytes,
                                  .fqn = item_.index.fqn});
  }

  const StoredItem& item_;
  const OpenFile& file_;
  const bool verify_;
};

/// The first and last bytes of a stream, for parsing the zip around a tensor.
class StreamEnds final : public ItemSource {
 public:
  void Add(std::span<const std::byte> bytes) {
    if (head_.size() < kKept) {
      const size_t n = std::min(bytes.size(), kKept - head_.size());
      head_.insert(head_.end(), bytes.begin(),
                   bytes.begin() + static_cast<std::ptrdiff_t>(n));
    }
    tail_.insert(tail_.end(), bytes.begin(), bytes.end());
    length_ += static_cast<int64_t>(bytes.size());
    if (tail_.size() > 2 * kKept + bytes.size()) {
      tail_.erase(tail_.begin(),
                  tail_.end() - static_cast<std::ptrdiff_t>(kKept));
    }
  }

  int64_t length() const { return length_; }

  Status Read(int64_t item_offset, std::span<std::byte> out) override {
    const int64_t tail_begin = length_ - static_cast<int64_t>(tail_.size());
    const auto end = item_offset + static_cast<int64_t>(out.size());
    if (end <= static_cast<int64_t>(head_.size())) {
      std::memcpy(out.data(), head_.data() + item_offset, out.size());
      return absl::OkStatus();
    }
    if (item_offset >= tail_begin) {
      std::memcpy(out.data(), tail_.data() + (item_offset - tail_begin),
                  out.size());
      return absl::OkStatus();
    }
    return DataLoss("the zip directory of a compressed tensor points into it");
  }

 private:
  static constexpr size_t kKept = size_t{1} << 20;

  std::vector<std::byte> head_;
  std::vector<std::byte> tail_;
  int64_t length_ = 0;
};

/// In torch's words: 2.13 _extension.py ExtensionRegistry.from_descriptor_list
/// and ZStandard.from_descriptor.
Status UnknownTransforms(const StoredItem& item) {
  std::string all;
  for (const std::string& transform : item.info.transform_descriptors) {
    all += (all.empty() ? "" : ", ") + transform;
  }
  const std::string_view first = item.info.transform_descriptors[0];
  const size_t slash = std::min(first.find('/'), first.size());
  const std::string_view known = kZstdDescriptor;
  const bool knows_name =
      first.substr(0, slash) == known.substr(0, known.find('/'));
  const std::string_view unknown =
      knows_name ? first.substr(std::min(slash + 1, first.size()))
                 : first.substr(0, slash);
  return InvalidArgument(std::string("Unknown extension ") +
                         (knows_name ? "version='" : "name='") +
                         std::string(unknown) + "': the item " +
                         ToString(item.index) + " was stored with " + all +
                         "; dcp reads " + std::string(kZstdDescriptor));
}

class CompressedItem {
 public:
  CompressedItem(const StoredItem& item, const OpenFile& file,
                 const DecodeContext& context)
      : item_(item), file_(file), context_(context) {}

  Status Read() {
    const auto& transforms = item_.info.transform_descriptors;
    if (transforms.size() != 1 || !IsZstdDescriptor(transforms[0])) {
      return UnknownTransforms(item_);
    }
    const bool is_tensor = item_.type == LoadItemType::kTensor;
    const int64_t numel =
        is_tensor ? std::min(Numel(item_.sizes), kMaxNumel) : 0;
    const int64_t most = numel * kMaxItemSize + kMaxZip;
    Status status = numel > kMaxInMemory / ItemSize(item_.dtype)
                        ? ReadInSteps(most)
                        : ReadWhole(is_tensor ? most : kMaxObject);
    if (status.code() != absl::StatusCode::kDataLoss ||
        GetErrorDetail(status)) {
      return status;
    }
    return ItemCorruption(Message(status), item_);
  }

 private:
  Status Decompress(int64_t max_nbytes, const ByteSink& sink) {
    ZstdFrameReader reader(max_nbytes, sink);
    return FrameSource(item_, file_, context_.verify).FeedTo(reader);
  }

  Status ReadWhole(int64_t max_nbytes) {
    std::string bytes;
    DCP_RETURN_IF_ERROR(
        Decompress(max_nbytes, [&](std::span<const std::byte> part) -> Status {
          bytes.append(reinterpret_cast<const char*>(part.data()), part.size());
          // Seen before a bomb has expanded.
          if (context_.verify && !MayBeTorchItem(bytes)) {
            return DataLoss("item is not an archive of torch.save");
          }
          return absl::OkStatus();
        }));
    return DecodeItem(item_, std::move(bytes), context_);
  }

  Status ReadInSteps(int64_t max_nbytes) {
    StreamEnds ends;
    DCP_RETURN_IF_ERROR(
        Decompress(max_nbytes, [&](std::span<const std::byte> part) {
          ends.Add(part);
          return absl::OkStatus();
        }));
    DCP_ASSIGN_OR_RETURN(const TensorItemInfo parsed,
                         ParseTensorItem(ends, ends.length()));
    if (parsed.needs_torch || (context_.verify && MustBeReadToCheck(parsed))) {
      return ReadWhole(max_nbytes);
    }
    if (context_.dtype_rule == DTypeRule::kAsRecorded) {
      DCP_RETURN_IF_ERROR(CheckStoredDType(item_, parsed));
    }
    DCP_ASSIGN_OR_RETURN(TensorPlace place, PlaceOfParsedItem(item_, parsed));
    place.data_begin -= item_.info.offset;  // of the decompressed item
    DCP_ASSIGN_OR_RETURN(std::vector<TensorPart> parts,
                         ResolveParts(item_, place, context_.target));
    const int64_t begin = place.data_begin;
    const int64_t end = begin + place.data_nbytes;
    TensorSink tensor(item_, std::move(place), std::move(parts),
                      context_.verify ? TensorSink::CheckCrc::kYes
                                      : TensorSink::CheckCrc::kNo,
                      context_.device);
    int64_t position = 0;
    ElementSplitter splitter(tensor, begin, end, ItemSize(parsed.dtype));
    return Decompress(max_nbytes, [&](std::span<const std::byte> part) {
      const int64_t at = position;
      position += static_cast<int64_t>(part.size());
      return splitter.Add(at, part);
    });
  }

  /// Passes the data on in whole elements: frames end anywhere.
  class ElementSplitter {
   public:
    ElementSplitter(TensorSink& sink, int64_t begin, int64_t end, int itemsize)
        : sink_(sink),
          next_(begin),
          end_(end),
          itemsize_(static_cast<size_t>(itemsize)) {}

    Status Add(int64_t at, std::span<const std::byte> bytes) {
      const int64_t from =
          std::max(at, next_ + static_cast<int64_t>(rest_.size()));
      const int64_t to =
          std::min(at + static_cast<int64_t>(bytes.size()), end_);
      if (from >= to) return absl::OkStatus();
      const auto part = bytes.subspan(static_cast<size_t>(from - at),
                                      static_cast<size_t>(to - from));
      rest_.insert(rest_.end(), part.begin(), part.end());
      const size_t whole = rest_.size() / itemsize_ * itemsize_;
      DCP_RETURN_IF_ERROR(sink_.Write(next_, std::span(rest_).first(whole)));
      next_ += static_cast<int64_t>(whole);
      rest_.erase(rest_.begin(),
                  rest_.begin() + static_cast<std::ptrdiff_t>(whole));
      return absl::OkStatus();
    }

   private:
    TensorSink& sink_;
    int64_t next_;
    const int64_t end_;
    const size_t itemsize_;
    std::vector<std::byte> rest_;
  };

  const StoredItem& item_;
  const OpenFile& file_;
  const DecodeContext& context_;
};

}  // namespace

Status ReadCompressedItem(const StoredItem& item, const OpenFile& file,
                          const DecodeContext& context) {
  return CompressedItem(item, file, context).Read();
}

Status ReadCompressedItems(std::span<const ItemInFile> items,
                           const DecodeContext& context,
                           const PipelineOptions& options) {
  std::vector<Status> statuses(items.size());
  std::atomic<size_t> next{0};
  const auto threads =
      std::min(items.size(), static_cast<size_t>(options.workers));
  RunOnThreads(threads, [&](size_t thread) {
    ProceedCheck proceed(thread == 0 ? options.proceed : nullptr);
    for (size_t i = next++; i < items.size(); i = next++) {
      const auto& [item, file] = items[i];
      statuses[i] = proceed();
      statuses[i].Update(ReadCompressedItem(*item, *file, context));
      if (!statuses[i].ok()) next = items.size();
    }
  });
  for (const Status& status : statuses) DCP_RETURN_IF_ERROR(status);
  return absl::OkStatus();
}

}  // namespace dcp
