#include "format/torch_records.h"

#include <algorithm>
#include <charconv>

#include "base/checksum.h"
#include "base/printable.h"

namespace dcp {
namespace {

constexpr uint64_t kMaxVersion = 10;  // of archives, in torch 2.13

/// As torch reads it, with std::stoull; 0 if it could not.
uint64_t ParseVersion(std::string_view text) {
  text.remove_prefix(
      std::min(text.find_first_not_of(" \t\n\v\f\r"), text.size()));
  if (text.starts_with('+')) text.remove_prefix(1);
  uint64_t version = 0;
  const auto parsed =
      std::from_chars(text.data(), text.data() + text.size(), version);
  return parsed.ec == std::errc() ? version : 0;
}

}  // namespace

TorchRecords::TorchRecords(ItemReader& item, const ZipDirectory& directory)
    : item_(item), directory_(directory) {
  if (directory.entries().empty()) return;
  const std::string_view first = directory.entries()[0].name;
  folder_ = first.substr(0, first.find('/'));
}

StatusOr<TorchRecords> TorchRecords::Open(ItemReader& item,
                                          const ZipDirectory& directory) {
  const TorchRecords records(item, directory);
  DCP_RETURN_IF_ERROR(records.CheckVersion());
  return records;
}

Status TorchRecords::CheckVersion() const {
  constexpr int64_t kMaxNbytes = 64;
  DCP_ASSIGN_OR_RETURN(const std::string text, Read("version", kMaxNbytes));
  const uint64_t version = ParseVersion(text);
  if (version >= 1 && version <= kMaxVersion) return absl::OkStatus();
  return DataLoss("version of the archive is " + Printable(text) +
                  ", where torch reads 1 to " + std::to_string(kMaxVersion));
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
