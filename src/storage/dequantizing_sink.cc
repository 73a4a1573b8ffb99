// 1. The stored bytes are a row-major image of their elements, one a byte or
//    two, so a run of elements is a run of bytes; at an odd one it is rounded
//    out to the whole byte.
// 2. Which scales are needed follows from the first and the last byte. They are
//    read first, in one piece: they are a thousandth of the weights or less.
// 3. Bytes that arrive become float32 in a small buffer, then the target dtype,
//    and are delivered as if they had been stored like that.

#include "storage/dequantizing_sink.h"

#include <algorithm>
#include <utility>

#include "base/cast.h"
#include "storage/checked_read.h"

namespace dcp {
namespace {

// Converted at a time: the buffers stay in the L2 cache.
constexpr size_t kPiece = size_t{1} << 14;

}  // namespace

DequantizingSink::DequantizingSink(const StoredItem& item,
                                   const QuantizedTensor& quantized,
                                   std::vector<TensorPart> parts,
                                   int64_t block_size, DeviceRuntime& device)
    : item_(item),
      quantized_(quantized),
      place_{.data_nbytes = Numel(item.sizes) * ItemSize(item.dtype),
             .image = {.dtype = item.dtype, .sizes = item.sizes}},
      parts_(std::move(parts)),
      device_(device) {
  if (is_mxfp4()) return;
  block_scales_.block_size = block_size;
  block_scales_.columns = item.sizes[1];
}

void DequantizingSink::AppendExtents(std::vector<Extent>* extents) {
  const ChunkImage elements{.dtype = DType::kUInt8, .sizes = item_.sizes};
  const int64_t per_byte = quantized_.elements_per_byte();
  for (const ByteRun& run : JoinedRuns(elements, parts_)) {
    const int64_t begin = run.byte_begin / per_byte;
    const int64_t end = (run.byte_begin + run.nbytes + per_byte - 1) / per_byte;
    if (last_byte_ < 0) first_byte_ = begin;
    last_byte_ = end - 1;
    extents->push_back({.begin = item_.info.offset + begin,
                        .end = item_.info.offset + end,
                        .sink = this});
  }
}

std::pair<int64_t, int64_t> DequantizingSink::RangeOfScales() const {
  if (last_byte_ < 0) return {0, 0};
  if (is_mxfp4()) {
    return {first_byte_ / quantized_.group_nbytes,
            last_byte_ / quantized_.group_nbytes + 1};
  }
  const int64_t rows = block_scales_.columns * block_scales_.block_size;
  const int64_t columns = block_scales_.column_blocks();
  return {first_byte_ / rows * columns, (last_byte_ / rows + 1) * columns};
}

StatusOr<int64_t> DequantizingSink::ReadScales(const PlaceOfScales& place,
                                               const OpenFile& file) {
  const auto [begin, end] = RangeOfScales();
  const int64_t itemsize = ItemSize(place.dtype);
  if (end * itemsize > place.info.length) {
    return ItemCorruption("its scales are too few", item_);
  }
  DCP_ASSIGN_OR_RETURN(
      std::vector<std::byte> bytes,
      ReadChecked(*file.file, file.record, place.info.offset + begin * itemsize,
                  (end - begin) * itemsize));
  const auto nbytes = std::ssize(bytes);
  if (is_mxfp4()) {
    first_group_ = begin;
    group_scales_ = std::move(bytes);
    return nbytes;
  }
  if (end > begin) {
    block_scales_.first_row_block = begin / block_scales_.column_blocks();
  }
  block_scales_.values.resize(static_cast<size_t>(end - begin));
  CastElements(place.dtype, bytes.data(), DType::kFloat32,
               reinterpret_cast<std::byte*>(block_scales_.values.data()),
               end - begin);
  return nbytes;
}

void DequantizingSink::Dequantize(int64_t begin,
                                  std::span<const std::byte> bytes,
                                  std::span<float> out) const {
  if (is_mxfp4()) {
    DequantizeMxfp4(bytes, begin, group_scales_, first_group_,
                    quantized_.group_nbytes, out);
  } else {
    DequantizeBlocks(quantized_.stored_dtype, bytes.data(), block_scales_,
                     begin, out);
  }
}

Status DequantizingSink::Write(int64_t begin,
                               std::span<const std::byte> bytes) {
  const auto per_byte = static_cast<size_t>(quantized_.elements_per_byte());
  const auto itemsize = static_cast<size_t>(ItemSize(item_.dtype));
  std::vector<float> floats(kPiece);
  std::vector<std::byte> converted(
      item_.dtype == DType::kFloat32 ? 0 : kPiece * itemsize);
  int64_t at = begin - item_.info.offset;
  while (!bytes.empty()) {
    const auto some = bytes.first(std::min(bytes.size(), kPiece / per_byte));
    const std::span<float> out(floats.data(), some.size() * per_byte);
    Dequantize(at, some, out);
    std::span<const std::byte> values = std::as_bytes(out);
    if (!converted.empty()) {
      CastElements(DType::kFloat32, values.data(), item_.dtype,
                   converted.data(), std::ssize(out));
      values = std::span(converted).first(out.size() * itemsize);
    }
    const int64_t image_begin = at * static_cast<int64_t>(per_byte * itemsize);
    for (const TensorPart& part : parts_) {
      DCP_RETURN_IF_ERROR(
          DeliverBytes(place_, part, image_begin, values, device_));
    }
    at += std::ssize(some);
    bytes = bytes.subspan(some.size());
  }
  return absl::OkStatus();
}

}  // namespace dcp
