#include "format/torch_item_reader.h"

#include <algorithm>
#include <cstring>
#include <string>
#include <string_view>
#include <utility>

#include "base/checksum.h"
#include "base/printable.h"
#include "format/memory_item_source.h"
#include "format/tensor_pickle.h"
#include "format/torch_records.h"

namespace dcp {
namespace {

constexpr int64_t kMaxDirectoryNbytes = int64_t{64} << 10;
constexpr int64_t kMaxPickleNbytes = int64_t{1} << 20;

/// Whether the item begins as a safetensors file does: the length of a header,
/// then the header, a JSON object.
bool IsSafetensors(ItemReader& item) {
  constexpr int64_t kLengthNbytes = 8;
  constexpr uint64_t kMaxHeaderNbytes = 100'000'000;
  const auto begin = item.Read(0, kLengthNbytes + 1);
  if (!begin.ok()) return false;
  uint64_t length = 0;
  std::memcpy(&length, begin->data(), sizeof(length));
  return length <= kMaxHeaderNbytes && begin->back() == '{';
}

/// What torch's FileSystemWriter writes if it is asked to; it records that all
/// items of a file lie at its beginning.
Status SafetensorsItem() {
  return Unimplemented(
      "the item is a safetensors file: the checkpoint was saved with "
      "serialization_format=SAFETENSORS, which does not record where its "
      "tensors lie (torch cannot load it either). Save it again without; until "
      "then `safetensors` reads each rank's file by itself");
}

StatusOr<ZipDirectory> ReadDirectory(ItemReader& item, int64_t max_nbytes) {
  auto directory = ZipDirectory::Read(item, max_nbytes);
  if (absl::IsDataLoss(directory.status()) && IsSafetensors(item)) {
    return SafetensorsItem();
  }
  return directory;
}

}  // namespace

StatusOr<TensorItemInfo> ParseTensorItem(ItemSource& source, int64_t length) {
  ItemReader item(source, length);
  DCP_ASSIGN_OR_RETURN(const ZipDirectory directory,
                       ReadDirectory(item, kMaxDirectoryNbytes));
  DCP_ASSIGN_OR_RETURN(const TorchRecords records,
                       TorchRecords::Open(item, directory));
  DCP_ASSIGN_OR_RETURN(const std::string pickle,
                       records.Read("data.pkl", kMaxPickleNbytes));
  DCP_ASSIGN_OR_RETURN(const TensorPickle tensor, ParseTensorPickle(pickle));
  DCP_ASSIGN_OR_RETURN(const bool is_big_endian, records.IsBigEndian());
  if (tensor.needs_torch || is_big_endian) {
    return TensorItemInfo{.needs_torch = true};
  }
  DCP_ASSIGN_OR_RETURN(const ZipEntry* data,
                       records.Find("data/" + tensor.storage_key));
  if (data->nbytes != tensor.storage_nbytes) {
    return DataLoss("item has " + std::to_string(data->nbytes) +
                    " bytes of data for a storage of " +
                    std::to_string(tensor.storage_nbytes));
  }
  DCP_ASSIGN_OR_RETURN(const int64_t data_offset, FindZipData(item, *data));
  return TensorItemInfo{.dtype = tensor.dtype,
                        .sizes = tensor.sizes,
                        .strides = tensor.strides,
                        .storage_offset = tensor.storage_offset,
                        .data_offset = data_offset,
                        .data_nbytes = data->nbytes,
                        .data_crc32 = data->crc32,
                        .conj = tensor.conj,
                        .neg = tensor.neg};
}

bool MayBeTorchItem(std::string_view begin) {
  constexpr std::string_view kSignature("PK\3\4", 4);
  return begin.substr(0, kSignature.size()) ==
         kSignature.substr(0, begin.size());
}

StatusOr<std::vector<ItemRecord>> ListItemRecords(
    ItemReader& item, int64_t max_directory_nbytes) {
  DCP_ASSIGN_OR_RETURN(const ZipDirectory directory,
                       ReadDirectory(item, max_directory_nbytes));
  std::vector<ItemRecord> records;
  for (const ZipEntry& entry : directory.entries()) {
    DCP_ASSIGN_OR_RETURN(const int64_t offset, FindZipData(item, entry));
    records.push_back({.name = Printable(entry.name),
                       .offset = offset,
                       .nbytes = entry.nbytes,
                       .crc32 = entry.crc32});
  }
  return records;
}

Status VerifyItemCrcs(std::span<const std::byte> item) {
  MemoryItemSource source(item);
  const auto length = static_cast<int64_t>(item.size());
  ItemReader reader(source, length);
  DCP_ASSIGN_OR_RETURN(const std::vector<ItemRecord> records,
                       ListItemRecords(reader, length));
  for (const ItemRecord& record : records) {
    if (record.crc32 == 0) continue;
    const uint32_t crc32 =
        Crc32(0, item.subspan(static_cast<size_t>(record.offset),
                              static_cast<size_t>(record.nbytes)));
    if (crc32 == record.crc32) continue;
    return DataLoss("record " + record.name + " does not match its CRC-32");
  }
  return absl::OkStatus();
}

}  // namespace dcp
