#include "storage/stored_item.h"

#include <algorithm>
#include <compare>
#include <tuple>
#include <utility>

#include "dcp/file_system.h"

namespace dcp {
namespace {

const ChunkStorageMetadata* FindChunk(const TensorStorageMetadata* tensor,
                                      const MetadataIndex& index) {
  const auto chunk = static_cast<size_t>(index.index.value_or(0));
  if (tensor == nullptr || chunk >= tensor->chunks.size()) return nullptr;
  return &tensor->chunks[chunk];
}

StatusOr<LocatedRead> Locate(const ReadItem& read, const Metadata& metadata) {
  const auto place = metadata.storage_data.find(read.storage_index);
  if (place == metadata.storage_data.end()) {
    return DataLoss("the metadata lists " + ToString(read.storage_index) +
                    " and does not say where it is stored");
  }
  if (read.type == LoadItemType::kTensor &&
      FindChunk(metadata.FindTensor(read.storage_index.fqn),
                read.storage_index) == nullptr) {
    return DataLoss("the metadata has no chunk " +
                    ToString(read.storage_index));
  }
  return LocatedRead{.read = &read, .info = &place->second};
}

/// By place; two items in one place, by name.
bool ComesBefore(const LocatedRead& a, const LocatedRead& b) {
  if (a.info == b.info) return false;
  const auto order = std::tie(a.info->relative_path, a.info->offset) <=>
                     std::tie(b.info->relative_path, b.info->offset);
  if (order != 0) return order < 0;
  const MetadataIndex& one = a.read->storage_index;
  const MetadataIndex& other = b.read->storage_index;
  return std::tie(one.fqn, one.offset) < std::tie(other.fqn, other.offset);
}

/// Items share no bytes, unless they are the same bytes under two keys.
Status CheckOverlaps(std::span<const LocatedRead> sorted,
                     std::string_view directory) {
  const LocatedRead* last = nullptr;
  for (const LocatedRead& item : sorted) {
    const StorageInfo& info = *item.info;
    if (info.length == 0) continue;
    if (last != nullptr && last->info->relative_path == info.relative_path &&
        info.offset - last->info->offset < last->info->length &&
        (info.offset != last->info->offset ||
         info.length != last->info->length)) {
      return ItemCorruption(
          "the item overlaps that of " + last->read->storage_index.fqn,
          {.index = item.read->storage_index,
           .directory = directory,
           .info = info});
    }
    last = &item;
  }
  return absl::OkStatus();
}

StoredItem DescribeItem(const LocatedRead& located, const Metadata& metadata,
                        std::string_view directory) {
  const ReadItem& read = *located.read;
  StoredItem item{.index = read.storage_index,
                  .directory = directory,
                  .info = *located.info,
                  .type = read.type};
  if (read.type == LoadItemType::kByteIo) return item;
  const auto& tensor = *metadata.FindTensor(read.storage_index.fqn);
  item.sizes = FindChunk(&tensor, read.storage_index)->sizes;
  item.dtype = tensor.properties.dtype;
  return item;
}

}  // namespace

std::string StoredItem::path() const {
  return JoinPath(directory, info.relative_path);
}

StatusOr<std::vector<LocatedRead>> LocateReads(const LoadPlan& plan,
                                               const Metadata& metadata,
                                               std::string_view directory) {
  std::vector<LocatedRead> reads;
  reads.reserve(plan.items.size());
  for (const ReadItem& read : plan.items) {
    DCP_ASSIGN_OR_RETURN(const LocatedRead located, Locate(read, metadata));
    reads.push_back(located);
  }
  std::stable_sort(reads.begin(), reads.end(), &ComesBefore);
  DCP_RETURN_IF_ERROR(CheckOverlaps(reads, directory));
  return reads;
}

std::span<const LocatedRead> ReadsOfFirstItems(
    std::span<const LocatedRead> reads, size_t count) {
  size_t items = 0;
  for (size_t i = 0; i < reads.size(); ++i) {
    const bool is_new = i == 0 || reads[i].info != reads[i - 1].info;
    if (is_new && ++items > count) return reads.first(i);
  }
  return reads;
}

std::vector<StoredItem> DescribeItems(std::span<const LocatedRead> reads,
                                      const Metadata& metadata,
                                      std::string_view directory) {
  std::vector<StoredItem> items;
  items.reserve(reads.size());
  for (size_t i = 0; i < reads.size(); ++i) {
    if (i == 0 || reads[i].info != reads[i - 1].info) {
      items.push_back(DescribeItem(reads[i], metadata, directory));
    }
    items.back().reads.push_back(reads[i].read);
  }
  return items;
}

StatusOr<TensorPlace> PlaceOfParsedItem(const StoredItem& item,
                                        const TensorItemInfo& parsed) {
  if (parsed.sizes != item.sizes) {
    return DataLoss("the stored tensor has the shape " +
                    ToString(parsed.sizes) + ", the metadata says " +
                    ToString(item.sizes));
  }
  const auto order = DenseOrder(parsed.sizes, parsed.strides);
  if (!order) {
    return Unimplemented("the stored tensor " + item.index.fqn +
                         " has overlapping elements or gaps (strides " +
                         ToString(parsed.strides) + ")");
  }
  // Without elements the storage offset may be any number.
  const bool is_empty = Numel(parsed.sizes) == 0;
  const int64_t first =
      is_empty ? 0 : parsed.storage_offset * ItemSize(parsed.dtype);
  TensorPlace place{
      .data_begin = item.info.offset + parsed.data_offset + first,
      .data_nbytes = Numel(parsed.sizes) * ItemSize(parsed.dtype),
      .image = {.dtype = parsed.dtype, .sizes = Permute(parsed.sizes, *order)},
      .order = *order};
  if (parsed.conj) place.op = ElementOp::kConj;
  if (parsed.neg) place.op = ElementOp::kNeg;
  if (!SupportsElementOp(place.op, parsed.dtype)) {
    return DataLoss(
        "the stored tensor's conjugate or negative bit does not fit "
        "its dtype");
  }
  // The record's CRC covers the whole storage.
  if (place.data_nbytes == parsed.data_nbytes) place.crc32 = parsed.data_crc32;
  return place;
}

Status CheckStoredDType(const StoredItem& item, const TensorItemInfo& parsed) {
  if (parsed.dtype == item.dtype) return absl::OkStatus();
  return DataLoss("the stored tensor is of type " +
                  std::string(DTypeName(parsed.dtype)) +
                  ", the metadata says " + std::string(DTypeName(item.dtype)));
}

bool MustBeReadToCheck(const TensorItemInfo& parsed) {
  return parsed.data_crc32 != 0 &&
         parsed.data_nbytes != Numel(parsed.sizes) * ItemSize(parsed.dtype);
}

Status ItemCorruption(std::string_view what, const StoredItem& item) {
  return CorruptionError(what, {.op = "read",
                                .path = item.path(),
                                .byte_offset = item.info.offset,
                                .nbytes = item.info.length,
                                .fqn = item.index.fqn});
}

}  // namespace dcp
