#include "format/torch_records.h"

#include "base/checksum.h"
#include "base/printable.h"

namespace dcp {

TorchRecords::TorchRecords(ItemReader& item, const ZipDirectory& directory)
    : item_(item), directory_(directory) {
  if (directory.entries().empty()) return;
  const std::string_view first = directory.entries()[0].name;
  folder_ = first.substr(0, first.find('/'));
}

std::string TorchRecords::FullName(std::string_view name) const {
  return std::string(folder_) + "/" + std::string(name);
}

StatusOr<const ZipEntry*> TorchRecords::Find(std::string_view name) const {
  const ZipEntry* entry = directory_.Find(FullName(name));
  if (entry != nullptr) return entry;
  return DataLoss("item has no record " + Printable(FullName(name)));
}

StatusOr<std::string> TorchRecords::Read(std::string_view name,
                                         int64_t max_nbytes) const {
  DCP_ASSIGN_OR_RETURN(const ZipEntry* entry, Find(name));
  if (entry->nbytes > max_nbytes) {
    return DataLoss("record " + Printable(FullName(name)) + " has " +
                    std::to_string(entry->nbytes) + " bytes, more than " +
                    std::to_string(max_nbytes));
  }
  DCP_ASSIGN_OR_RETURN(const int64_t offset, FindZipData(item_, *entry));
  DCP_ASSIGN_OR_RETURN(const std::string_view data,
                       item_.Read(offset, entry->nbytes));
  if (entry->crc32 != 0 && Crc32(0, data) != entry->crc32) {
    return DataLoss("record " + Printable(FullName(name)) +
                    " does not match its CRC-32");
  }
  return std::string(data);
}

StatusOr<bool> TorchRecords::IsBigEndian() const {
  constexpr int64_t kMaxNbytes = 16;
  if (directory_.Find(FullName("byteorder")) == nullptr) return false;
  DCP_ASSIGN_OR_RETURN(const std::string order, Read("byteorder", kMaxNbytes));
  if (order == "little") return false;
  if (order == "big") return true;
  return DataLoss("byteorder is neither little nor big");
}

}  // namespace dcp
