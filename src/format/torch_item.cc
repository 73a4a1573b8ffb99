#include "format/torch_item.h"

#include <array>
#include <limits>
#include <string>
#include <string_view>

#include "format/tensor_pickle.h"
#include "format/torch_archive.h"
#include "format/zip_writer.h"

namespace dcp {
namespace {

/// Far above any file, far below an overflow in the sums below.
constexpr int64_t kMaxNbytes = std::numeric_limits<int64_t>::max() / 4;

/// The records of a tensor item, in torch's order.
class TensorArchive {
 public:
  TensorArchive(const TensorItemSpec& spec, int64_t data_nbytes)
      : pickle_(RenderTensorPickle(spec)), data_nbytes_(data_nbytes) {
    FillHead(pickle_, records_);
    records_[kData] = {.name = "archive/data/0",
                       .nbytes = data_nbytes,
                       .alignment = data_nbytes >= kLargeItemNbytes
                                        ? kLargeDataAlignment
                                        : kItemAlignment};
    FillTail(std::span(records_).subspan<kData + 1>());
  }

  ZipLayout Layout(int64_t item_offset) {
    return LayoutZip(records_, item_offset);
  }

  int64_t data_offset() const { return records_[kData].data_offset; }
  int64_t data_alignment() const { return records_[kData].alignment; }

  void PutPrefix(std::span<std::byte> out) const {
    const ZipWindow window{.bytes = out};
    PutHead(records_, pickle_, window);
    PutZipHeader(records_[kData], window);
  }

  void PutSuffix(const ZipLayout& layout, uint32_t data_crc32,
                 std::span<std::byte> out) {
    const ZipWindow window{.bytes = out, .start = data_offset() + data_nbytes_};
    records_[kData].crc32 = data_crc32;
    PutZipDescriptor(records_[kData], window);
    PutTail(SerializationId(records_[0].crc32, data_crc32),
            std::span(records_).subspan<kData + 1>(), window);
    PutZipDirectory(records_, layout, window);
  }

 private:
  static constexpr size_t kData = kArchiveHeadCount;

  std::string pickle_;
  int64_t data_nbytes_;
  std::array<ZipRecord, kArchiveHeadCount + 1 + kArchiveTailCount> records_;
};

}  // namespace

StatusOr<TensorItemLayout> LayoutTensorItem(const TensorItemSpec& spec,
                                            int64_t item_offset) {
  const std::optional<int64_t> numel = CheckedNumel(spec.sizes);
  int64_t nbytes = 0;
  if (!numel || spec.sizes.size() > Dims::kMaxDims ||
      __builtin_mul_overflow(*numel, ItemSize(spec.dtype), &nbytes) ||
      nbytes > kMaxNbytes) {
    return InvalidArgument("no tensor has sizes " + ToString(spec.sizes));
  }
  if (item_offset < 0 || item_offset > kMaxNbytes ||
      item_offset % kItemAlignment != 0) {
    return InvalidArgument("an item cannot start at byte " +
                           std::to_string(item_offset));
  }
  if (GetDTypeInfo(spec.dtype).kind == DTypeKind::kQuantized) {
    return Unimplemented("quantized tensors are written by torch only, not " +
                         std::string(DTypeName(spec.dtype)));
  }
  TensorArchive archive(spec, nbytes);
  const ZipLayout layout = archive.Layout(item_offset);
  return TensorItemLayout{.data_offset = archive.data_offset(),
                          .data_nbytes = nbytes,
                          .length = layout.nbytes};
}

void RenderItemPrefix(const TensorItemSpec& spec,
                      const TensorItemLayout& layout, int64_t item_offset,
                      std::span<std::byte> out) {
  TensorArchive archive(spec, layout.data_nbytes);
  archive.Layout(item_offset);
  archive.PutPrefix(out);
}

void RenderItemSuffix(const TensorItemSpec& spec,
                      const TensorItemLayout& layout, uint32_t data_crc32,
                      std::span<std::byte> out) {
  TensorArchive archive(spec, layout.data_nbytes);
  // Any start that puts the data on the same alignment gives the same layout.
  const int64_t alignment = archive.data_alignment();
  const int64_t start =
      (alignment - layout.data_offset % alignment) % alignment;
  archive.PutSuffix(archive.Layout(start), data_crc32, out);
}

}  // namespace dcp
