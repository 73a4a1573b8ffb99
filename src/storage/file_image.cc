// How a block is put together:
// 1. The items that overlap the block are found by binary search; bytes
//    between items are zero.
// 2. An item is prefix, data, suffix. Prefix and suffix are rendered when they
//    are needed and never kept: 100,000 small tensors would need 160 MB.
// 3. Data is gathered and its CRC taken in pieces that end at the edges of the
//    checksum grid, so one pass serves the zip record and the sidecar.
// 4. The suffix holds the CRC of all the data. Whoever needs it waits until
//    the pieces of the other threads are there; they belong to earlier blocks,
//    which are being filled and wait for nobody later.

#include "storage/file_image.h"

#include <algorithm>
#include <cstring>
#include <string>
#include <utility>

#include "base/checksum.h"
#include "storage/block_builder.h"
#include "storage/gather_view.h"

namespace dcp {
namespace {

// Shorter pieces are copied rather than referred to: a slice costs more.
constexpr int64_t kMinReference = int64_t{16} << 10;

std::span<std::byte> Part(const TensorImage& tensor, int64_t begin,
                          int64_t end) {
  return {static_cast<std::byte*>(tensor.view.data) + begin,
          static_cast<size_t>(end - begin)};
}

}  // namespace

bool IsStoredAsInMemory(const TensorImage& tensor) {
  return tensor.stream == nullptr &&
         IsStoredAsInMemory(tensor.view, tensor.spec.dtype);
}

FileImage::FileImage(std::vector<ImageItem> items, DeviceRuntime& device,
                     BlockChecksums& checksums)
    : items_(std::move(items)),
      device_(device),
      checksums_(checksums),
      shared_crcs_(items_.size()) {}

Status FileImage::Fill(int64_t byte_offset, int64_t nbytes, FillMode mode,
                       std::span<std::byte> buffer,
                       std::vector<IoSlice>* slices) {
  const int64_t end = byte_offset + nbytes;
  BlockBuilder builder(byte_offset, mode, buffer, slices);
  auto item = std::upper_bound(items_.begin(), items_.end(), byte_offset,
                               [](int64_t offset, const ImageItem& i) {
                                 return offset < i.file_offset;
                               });
  if (item != items_.begin()) --item;
  for (; item != items_.end() && item->file_offset < end; ++item) {
    const int64_t item_end = item->file_offset + item->length;
    if (item_end <= builder.position()) continue;
    if (item->file_offset > builder.position()) {
      builder.Zeros(item->file_offset - builder.position());
    }
    const int64_t part_begin = builder.position() - item->file_offset;
    const int64_t part_end = std::min(end, item_end) - item->file_offset;
    if (const auto* bytes = std::get_if<std::string_view>(&item->content)) {
      std::memcpy(builder.Reserve(part_end - part_begin).data(),
                  bytes->data() + part_begin,
                  static_cast<size_t>(part_end - part_begin));
    } else {
      DCP_RETURN_IF_ERROR(FillTensor(static_cast<size_t>(item - items_.begin()),
                                     part_begin, part_end, builder));
    }
  }
  if (builder.position() < end) builder.Zeros(end - builder.position());
  builder.ReportChecksums(byte_offset, checksums_);
  return absl::OkStatus();
}

Status FileImage::FillTensor(size_t item, int64_t begin, int64_t end,
                             BlockBuilder& builder) {
  const auto& tensor = std::get<TensorImage>(items_[item].content);
  const TensorItemLayout& layout = tensor.layout;
  const int64_t data_end = layout.data_offset + layout.data_nbytes;
  if (begin < layout.data_offset) {
    std::string prefix(static_cast<size_t>(layout.data_offset), '\0');
    RenderItemPrefix(tensor.spec, layout, items_[item].file_offset,
                     std::as_writable_bytes(std::span(prefix)));
    const int64_t part_end = std::min(end, layout.data_offset);
    std::memcpy(builder.Reserve(part_end - begin).data(), prefix.data() + begin,
                static_cast<size_t>(part_end - begin));
  }
  DataCrc crc;
  const int64_t data_begin = std::max(begin, layout.data_offset);
  if (data_begin < std::min(end, data_end)) {
    DCP_RETURN_IF_ERROR(FillData(tensor, data_begin - layout.data_offset,
                                 std::min(end, data_end) - layout.data_offset,
                                 builder, &crc));
  }
  // A tensor that lies whole in this block, as small ones do, needs no others.
  uint32_t data_crc = 0;
  if (begin == 0 && end == layout.length) {
    data_crc = Combine(crc);
  } else {
    AddPieces(item, crc);
    if (end <= data_end) return absl::OkStatus();
    DCP_ASSIGN_OR_RETURN(data_crc, AwaitCrc(item));
  }
  std::string suffix(static_cast<size_t>(layout.length - data_end), '\0');
  RenderItemSuffix(tensor.spec, layout, data_crc,
                   std::as_writable_bytes(std::span(suffix)));
  const int64_t part_begin = std::max(begin, data_end);
  std::memcpy(builder.Reserve(end - part_begin).data(),
              suffix.data() + (part_begin - data_end),
              static_cast<size_t>(end - part_begin));
  return absl::OkStatus();
}

Status FileImage::FillData(const TensorImage& tensor, int64_t begin,
                           int64_t end, BlockBuilder& builder, DataCrc* crc) {
  const bool plain = IsStoredAsInMemory(tensor);
  while (begin < end) {
    const int64_t to_grid =
        kChecksumBlock - builder.position() % kChecksumBlock;
    const int64_t piece_end = std::min(end, begin + to_grid);
    const bool reference =
        plain && builder.may_reference() && piece_end - begin >= kMinReference;
    uint32_t piece_crc = 0;
    for (int64_t at = begin; at < piece_end;) {
      const int64_t next = std::min(piece_end, at + kGatherGranule);
      std::span<std::byte> bytes;
      if (reference) {
        bytes = Part(tensor, at, next);
        builder.Reference(bytes);
      } else {
        bytes = builder.Reserve(next - at);
        if (tensor.stream != nullptr) {
          DCP_RETURN_IF_ERROR(tensor.stream->Read(*tensor.item, at, bytes));
        } else {
          DCP_RETURN_IF_ERROR(
              GatherView(tensor.view, tensor.spec.dtype, at, device_, bytes));
        }
      }
      piece_crc = Crc32(piece_crc, bytes);
      at = next;
    }
    builder.Know(piece_end - begin, piece_crc);
    crc->pieces.push_back({begin, piece_end - begin, piece_crc});
    begin = piece_end;
  }
  return absl::OkStatus();
}

uint32_t FileImage::Combine(DataCrc& crc) {
  std::sort(crc.pieces.begin(), crc.pieces.end(),
            [](const auto& a, const auto& b) { return a.begin < b.begin; });
  uint32_t total = 0;
  for (const DataCrc::Piece& piece : crc.pieces) {
    total = Crc32Combine(total, piece.crc, piece.nbytes);
  }
  return total;
}

void FileImage::AddPieces(size_t item, const DataCrc& crc) {
  MutexLock lock(mutex_);
  std::unique_ptr<DataCrc>& shared = shared_crcs_[item];
  if (shared == nullptr) {
    shared = std::make_unique<DataCrc>();
    shared->nbytes_missing =
        std::get<TensorImage>(items_[item].content).layout.data_nbytes;
  }
  for (const DataCrc::Piece& piece : crc.pieces) {
    shared->nbytes_missing -= piece.nbytes;
    shared->pieces.push_back(piece);
  }
  if (shared->nbytes_missing == 0) changed_.NotifyAll();
}

StatusOr<uint32_t> FileImage::AwaitCrc(size_t item) {
  MutexLock lock(mutex_);
  DataCrc* shared = shared_crcs_[item].get();
  while (!cancelled_ && shared->nbytes_missing != 0) changed_.Wait(mutex_);
  if (shared->nbytes_missing != 0) {
    return MakeStatus(absl::StatusCode::kCancelled,
                      "the save failed in another thread");
  }
  return Combine(*shared);
}

void FileImage::Cancel() {
  for (const ImageItem& item : items_) {
    const auto* tensor = std::get_if<TensorImage>(&item.content);
    if (tensor != nullptr && tensor->stream != nullptr) {
      tensor->stream->Cancel();
      break;  // all of a save's items have one stream
    }
  }
  MutexLock lock(mutex_);
  cancelled_ = true;
  changed_.NotifyAll();
}

}  // namespace dcp
