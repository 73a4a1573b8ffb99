#include "storage/stored_item.h"

#include <algorithm>
#include <tuple>
#include <unordered_map>
#include <utility>

#include "dcp/file_system.h"

namespace dcp {
namespace {

StatusOr<StoredItem> DescribeItem(const ReadItem& read,
                                  const Metadata& metadata,
                                  std::string_view directory) {
  StoredItem item{
      .index = read.storage_index, .directory = directory, .type = read.type};
  const auto place = metadata.storage_data.find(read.storage_index);
  if (place == metadata.storage_data.end()) {
    return DataLoss("the metadata lists " + ToString(read.storage_index) +
                    " and does not say where it is stored");
  }
  item.info = place->second;
  if (read.type == LoadItemType::kByteIo) return item;
  const TensorStorageMetadata* tensor =
      metadata.FindTensor(read.storage_index.fqn);
  const auto chunk = static_cast<size_t>(read.storage_index.index.value_or(0));
  if (tensor == nullptr || chunk >= tensor->chunks.size()) {
    return DataLoss("the metadata has no chunk " +
                    ToString(read.storage_index));
  }
  item.sizes = tensor->chunks[chunk].sizes;
  item.dtype = tensor->properties.dtype;
  return item;
}

/// Items share no bytes, unless they are the same bytes under two keys.
Status CheckOverlaps(std::span<const StoredItem> sorted) {
  const StoredItem* last = nullptr;
  for (const StoredItem& item : sorted) {
    if (item.info.length == 0) continue;
    if (last != nullptr &&
        last->info.relative_path == item.info.relative_path &&
        item.info.offset - last->info.offset < last->info.length &&
        (item.info.offset != last->info.offset ||
         item.info.length != last->info.length)) {
      return ItemCorruption("the item overlaps that of " + last->index.fqn,
                            item);
    }
    last = &item;
  }
  return absl::OkStatus();
}

}  // namespace

std::string StoredItem::path() const {
  return JoinPath(directory, info.relative_path);
}

StatusOr<std::vector<StoredItem>> GroupByStoredItem(
    const LoadPlan& plan, const Metadata& metadata,
    std::string_view directory) {
  std::vector<StoredItem> items;
  std::unordered_map<MetadataIndex, size_t, MetadataIndexHash> positions;
  for (const ReadItem& read : plan.items) {
    const auto [position, is_new] =
        positions.try_emplace(read.storage_index, items.size());
    if (is_new) {
      DCP_ASSIGN_OR_RETURN(StoredItem item,
                           DescribeItem(read, metadata, directory));
      items.push_back(std::move(item));
    }
    items[position->second].reads.push_back(&read);
  }
  std::sort(items.begin(), items.end(),
            [](const StoredItem& a, const StoredItem& b) {
              return std::tie(a.info.relative_path, a.info.offset) <
                     std::tie(b.info.relative_path, b.info.offset);
            });
  DCP_RETURN_IF_ERROR(CheckOverlaps(items));
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
