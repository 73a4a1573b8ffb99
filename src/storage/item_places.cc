#include "storage/item_places.h"

#include <algorithm>
#include <cstring>
#include <map>
#include <memory>
#include <string>

#include "storage/extent.h"

namespace dcp {
namespace {

// data.pkl with its headers at the front, the zip directory at the end: each
// well below this for every item that torch writes.
constexpr int64_t kEndNbytes = 4096;

/// The two ends of an item, prefetched; the rest is read when asked for.
class PrefetchedItem final : public ItemSource, public ExtentSink {
 public:
  PrefetchedItem(const StoredItem& item, File& file)
      : item_(item),
        file_(file),
        begin_(item.info.offset),
        end_(item.info.offset + item.info.length),
        head_(static_cast<size_t>(std::min(kEndNbytes, item.info.length))),
        tail_(head_.size()) {}

  std::array<Extent, 2> extents() {
    const auto nbytes = static_cast<int64_t>(head_.size());
    const int64_t tail = std::max(begin_ + nbytes, end_ - nbytes);
    return {Extent{.begin = begin_, .end = begin_ + nbytes, .sink = this},
            Extent{.begin = tail, .end = end_, .sink = this}};
  }

  std::string_view key() const override { return item_.index.fqn; }

  Status Write(int64_t begin, std::span<const std::byte> bytes) override {
    Keep(begin, bytes, begin_, head_);
    Keep(begin, bytes, end_ - static_cast<int64_t>(tail_.size()), tail_);
    return absl::OkStatus();
  }

  Status Read(int64_t item_offset, std::span<std::byte> out) override {
    const int64_t begin = begin_ + item_offset;
    if (Serve(begin, out, begin_, head_)) return absl::OkStatus();
    if (Serve(begin, out, end_ - static_cast<int64_t>(tail_.size()), tail_)) {
      return absl::OkStatus();
    }
    const IoSlice slice{out.data(), out.size()};
    return file_.ReadFully(begin, {&slice, 1});
  }

 private:
  static void Keep(int64_t begin, std::span<const std::byte> bytes, int64_t at,
                   std::vector<std::byte>& kept) {
    const int64_t from = std::max(begin, at);
    const int64_t to = std::min(begin + static_cast<int64_t>(bytes.size()),
                                at + static_cast<int64_t>(kept.size()));
    if (from >= to) return;
    std::memcpy(kept.data() + (from - at), bytes.data() + (from - begin),
                static_cast<size_t>(to - from));
  }

  static bool Serve(int64_t begin, std::span<std::byte> out, int64_t at,
                    const std::vector<std::byte>& kept) {
    if (begin < at || begin + static_cast<int64_t>(out.size()) >
                          at + static_cast<int64_t>(kept.size())) {
      return false;
    }
    std::memcpy(out.data(), kept.data() + (begin - at), out.size());
    return true;
  }

  const StoredItem& item_;
  File& file_;
  const int64_t begin_;
  const int64_t end_;
  std::vector<std::byte> head_;
  std::vector<std::byte> tail_;
};

}  // namespace

std::optional<TensorPlace> RecordedPlace(const StoredItem& item,
                                         const OpenFile& file) {
  if (file.record == nullptr) return std::nullopt;
  const auto& items = file.record->items;
  const auto found = std::lower_bound(
      items.begin(), items.end(), item.info.offset,
      [](const SidecarItem& a, int64_t offset) { return a.offset < offset; });
  if (found == items.end() || found->offset != item.info.offset ||
      found->length != item.info.length || found->data_offset == 0) {
    return std::nullopt;
  }
  if (found->data_nbytes != Numel(item.sizes) * ItemSize(item.dtype)) {
    return std::nullopt;
  }
  return TensorPlace{.data_begin = item.info.offset + found->data_offset,
                     .data_nbytes = found->data_nbytes,
                     .image = {.dtype = item.dtype, .sizes = item.sizes}};
}

StatusOr<std::vector<TensorItemInfo>> ParseItems(
    std::span<const ItemInFile> items, const PipelineOptions& options) {
  std::vector<std::unique_ptr<PrefetchedItem>> sources;
  std::map<OpenFile*, FileExtents> reads;
  for (const auto& [item, file] : items) {
    sources.push_back(std::make_unique<PrefetchedItem>(*item, *file->file));
    FileExtents& extents = reads[file];
    extents.file = file->file.get();
    extents.file_nbytes = file->nbytes;
    for (const Extent& extent : sources.back()->extents()) {
      if (extent.begin < extent.end) extents.extents.push_back(extent);
    }
  }
  std::vector<FileExtents> files;
  files.reserve(reads.size());
  for (auto& [file, extents] : reads) files.push_back(std::move(extents));
  DCP_RETURN_IF_ERROR(ReadExtents(std::move(files), options).status());

  std::vector<TensorItemInfo> parsed;
  for (size_t i = 0; i < items.size(); ++i) {
    const auto& [item, file] = items[i];
    StatusOr<TensorItemInfo> info =
        ParseTensorItem(*sources[i], item->info.length);
    if (info.status().code() == absl::StatusCode::kDataLoss) {
      return ItemCorruption(Message(info.status()), *item);
    }
    DCP_RETURN_IF_ERROR(info.status());
    parsed.push_back(*std::move(info));
  }
  return parsed;
}

}  // namespace dcp
