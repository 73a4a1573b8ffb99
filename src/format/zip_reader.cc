#include "format/zip_reader.h"

#include <algorithm>
#include <cstring>
#include <utility>

#include "base/printable.h"
#include "format/utf8.h"
#include "format/zip_format.h"

namespace dcp {
namespace {

constexpr int64_t kTailNbytes = 4096;
constexpr int64_t kHeadNbytes = 2048;

template <typename T>
T Load(std::string_view bytes, size_t offset) {
  T value;
  std::memcpy(&value, bytes.data() + offset, sizeof(value));
  return value;
}

Status Damaged(std::string_view what) {
  return DataLoss("item is not an archive of torch.save: " + std::string(what));
}

/// Where the directory is, from the end records.
struct DirectoryPlace {
  int64_t offset = 0;
  int64_t nbytes = 0;
  int64_t count = 0;
  int64_t end = 0;  ///< where the end records begin
};

/// The zip64 end record, whose locator ends where the end record begins.
StatusOr<DirectoryPlace> ReadZip64End(ItemReader& item, int64_t locator) {
  DCP_ASSIGN_OR_RETURN(std::string_view bytes,
                       item.Read(locator, kZip64LocatorNbytes));
  if (Load<uint32_t>(bytes, 4) != 0 || Load<uint32_t>(bytes, 16) != 1) {
    return Damaged("it spans disks");
  }
  const auto end = Load<int64_t>(bytes, 8);
  if (end < 0 || end != locator - int64_t{kZip64EndNbytes}) {
    return Damaged("its zip64 end record is misplaced");
  }
  DCP_ASSIGN_OR_RETURN(bytes, item.Read(end, kZip64EndNbytes));
  if (Load<uint32_t>(bytes, 0) != kZip64EndSignature ||
      Load<uint64_t>(bytes, 4) < kZip64EndNbytes - 12) {
    return Damaged("it has no zip64 end record");
  }
  if (Load<uint64_t>(bytes, 16) != 0 ||  // the disks, this and the directory's
      Load<int64_t>(bytes, 24) != Load<int64_t>(bytes, 32)) {
    return Damaged("it spans disks");
  }
  return DirectoryPlace{.offset = Load<int64_t>(bytes, 48),
                        .nbytes = Load<int64_t>(bytes, 40),
                        .count = Load<int64_t>(bytes, 32),
                        .end = end};
}

StatusOr<DirectoryPlace> FindDirectory(ItemReader& item) {
  const int64_t end = item.length() - int64_t{kZipEndNbytes};
  if (end < 0) return Damaged("it is too short");
  DCP_ASSIGN_OR_RETURN(std::string_view bytes, item.Read(end, kZipEndNbytes));
  if (Load<uint32_t>(bytes, 0) != kZipEndSignature ||
      Load<uint16_t>(bytes, 20) != 0) {
    return Damaged("it has no end record; it may be cut off");
  }
  DirectoryPlace place{.offset = Load<uint32_t>(bytes, 16),
                       .nbytes = Load<uint32_t>(bytes, 12),
                       .count = Load<uint16_t>(bytes, 10),
                       .end = end};
  bool spans_disks = Load<uint32_t>(bytes, 4) != 0 ||
                     Load<uint16_t>(bytes, 8) != Load<uint16_t>(bytes, 10);
  const int64_t locator = end - int64_t{kZip64LocatorNbytes};
  if (locator >= 0) {
    DCP_ASSIGN_OR_RETURN(bytes, item.Read(locator, kZip64LocatorNbytes));
    if (Load<uint32_t>(bytes, 0) == kZip64LocatorSignature) {
      DCP_ASSIGN_OR_RETURN(place, ReadZip64End(item, locator));
      spans_disks = false;
    }
  }
  if (spans_disks) return Damaged("it spans disks");
  // torch leaves no gap between the directory and the end records.
  if (place.offset < 0 || place.nbytes < 0 || place.count < 0 ||
      place.offset > place.end || place.nbytes != place.end - place.offset ||
      place.count > place.nbytes / int64_t{kZipCentralNbytes}) {
    return Damaged("its directory is misplaced");
  }
  return place;
}

/// Replaces saturated fields by those of the zip64 extra field.
Status ApplyZip64(std::string_view extra, int64_t* stored_nbytes,
                  ZipEntry* entry) {
  while (extra.size() >= 4) {
    const auto id = Load<uint16_t>(extra, 0);
    const size_t nbytes = Load<uint16_t>(extra, 2);
    extra.remove_prefix(4);
    if (nbytes > extra.size()) return Damaged("its extra fields are cut off");
    std::string_view field = extra.substr(0, nbytes);
    extra.remove_prefix(nbytes);
    if (id != kZip64ExtraId) continue;
    for (int64_t* value :
         {&entry->nbytes, stored_nbytes, &entry->header_offset}) {
      if (*value != int64_t{kZip32Max}) continue;
      if (field.size() < sizeof(int64_t)) return Damaged("a short zip64 field");
      *value = Load<int64_t>(field, 0);
      field.remove_prefix(sizeof(int64_t));
    }
  }
  return absl::OkStatus();
}

/// Whether a record's entry says that its bytes lie in this file as they are.
/// torch's reader takes those of a directory to be read, and leaves the caller
/// with memory that nobody has written.
bool IsPlain(std::string_view central, const ZipEntry& entry) {
  return (entry.flags & kZipFlagsEncoded) == 0 &&
         Load<uint8_t>(central, 6) <= kZipMaxVersion &&
         Load<uint16_t>(central, 10) == 0 &&  // the method: stored
         Load<uint16_t>(central, 34) == 0 &&  // the disk
         (Load<uint32_t>(central, 38) & kZipAttributeDirectory) == 0 &&
         !entry.name.ends_with('/');
}

}  // namespace

Status ItemReader::Fill(int64_t start, int64_t nbytes, std::string* buffer) {
  buffer->resize(static_cast<size_t>(nbytes));
  return source_.Read(start, std::as_writable_bytes(std::span(*buffer)));
}

StatusOr<std::string_view> ItemReader::Read(int64_t item_offset,
                                            int64_t nbytes) {
  if (item_offset < 0 || nbytes < 0 || item_offset > length_ ||
      nbytes > length_ - item_offset) {
    return Damaged("it refers to bytes beyond its end");
  }
  const int64_t end = item_offset + nbytes;
  const int64_t tail_start = std::max<int64_t>(0, length_ - kTailNbytes);
  const int64_t head_end = std::min(length_, kHeadNbytes);
  const std::string* buffer = &scratch_;
  int64_t start = item_offset;
  if (item_offset >= tail_start) {
    if (tail_.empty()) {
      DCP_RETURN_IF_ERROR(Fill(tail_start, length_ - tail_start, &tail_));
    }
    buffer = &tail_;
    start = tail_start;
  } else if (end <= head_end) {
    if (head_.empty()) DCP_RETURN_IF_ERROR(Fill(0, head_end, &head_));
    buffer = &head_;
    start = 0;
  } else {
    DCP_RETURN_IF_ERROR(Fill(item_offset, nbytes, &scratch_));
  }
  return std::string_view(*buffer).substr(
      static_cast<size_t>(item_offset - start), static_cast<size_t>(nbytes));
}

StatusOr<ZipDirectory> ZipDirectory::Read(ItemReader& item,
                                          int64_t max_nbytes) {
  DCP_ASSIGN_OR_RETURN(const DirectoryPlace place, FindDirectory(item));
  if (place.nbytes > max_nbytes) return Damaged("its directory is too large");
  DCP_ASSIGN_OR_RETURN(std::string_view bytes,
                       item.Read(place.offset, place.nbytes));
  ZipDirectory directory;
  directory.bytes_.assign(bytes.begin(), bytes.end());
  DCP_RETURN_IF_ERROR(
      directory.ParseEntries(static_cast<size_t>(place.count), place.offset));
  return directory;
}

Status ZipDirectory::ParseEntries(size_t count, int64_t directory_offset) {
  std::string_view rest(bytes_.data(), bytes_.size());
  entries_.reserve(count);
  for (size_t i = 0; i < count; ++i) {
    if (rest.size() < kZipCentralNbytes ||
        Load<uint32_t>(rest, 0) != kZipCentralSignature) {
      return Damaged("its directory is malformed");
    }
    const size_t name_nbytes = Load<uint16_t>(rest, 28);
    const size_t extra_nbytes = Load<uint16_t>(rest, 30);
    const size_t comment_nbytes = Load<uint16_t>(rest, 32);
    const size_t nbytes =
        kZipCentralNbytes + name_nbytes + extra_nbytes + comment_nbytes;
    if (nbytes > rest.size()) return Damaged("its directory is malformed");
    ZipEntry entry{.name = rest.substr(kZipCentralNbytes, name_nbytes),
                   .nbytes = Load<uint32_t>(rest, 24),
                   .header_offset = Load<uint32_t>(rest, 42),
                   .crc32 = Load<uint32_t>(rest, 16),
                   .flags = Load<uint16_t>(rest, 8)};
    int64_t stored_nbytes = Load<uint32_t>(rest, 20);
    DCP_RETURN_IF_ERROR(
        ApplyZip64(rest.substr(kZipCentralNbytes + name_nbytes, extra_nbytes),
                   &stored_nbytes, &entry));
    if (stored_nbytes != entry.nbytes || !IsPlain(rest, entry)) {
      return Damaged("record " + Printable(entry.name) +
                     " is compressed, encrypted, a directory or elsewhere");
    }
    if ((entry.flags & kZipFlagUtf8) != 0 && !IsValidUtf8(entry.name)) {
      return Damaged("name " + Printable(entry.name) + " is not UTF-8");
    }
    entries_.push_back(entry);
    rest.remove_prefix(nbytes);
  }
  if (!rest.empty()) return Damaged("its directory is malformed");
  DCP_RETURN_IF_ERROR(CheckNames());
  return CheckOverlaps(directory_offset);
}

/// Two records of one name: which one is read would depend on the reader.
Status ZipDirectory::CheckNames() const {
  std::vector<std::string_view> names;
  names.reserve(entries_.size());
  for (const ZipEntry& entry : entries_) names.push_back(entry.name);
  std::sort(names.begin(), names.end());
  const auto twice = std::adjacent_find(names.begin(), names.end());
  if (twice == names.end()) return absl::OkStatus();
  return Damaged("record " + Printable(*twice) + " is there twice");
}

Status ZipDirectory::CheckOverlaps(int64_t directory_offset) {
  std::sort(entries_.begin(), entries_.end(),
            [](const ZipEntry& a, const ZipEntry& b) {
              return a.header_offset < b.header_offset;
            });
  for (size_t i = 0; i < entries_.size(); ++i) {
    ZipEntry& entry = entries_[i];
    if (entry.header_offset < 0) {
      return Damaged("record " + Printable(entry.name) +
                     " overlaps others: it begins before the item");
    }
    entry.end_limit = i + 1 < entries_.size() ? entries_[i + 1].header_offset
                                              : directory_offset;
    const int64_t room = entry.end_limit - entry.header_offset -
                         int64_t{kZipLocalNbytes} -
                         static_cast<int64_t>(entry.name.size());
    if (entry.nbytes < 0 || entry.end_limit > directory_offset ||
        room < entry.nbytes) {
      return Damaged("record " + Printable(entry.name) + " overlaps others");
    }
  }
  return absl::OkStatus();
}

const ZipEntry* ZipDirectory::Find(std::string_view name) const {
  for (const ZipEntry& entry : entries_) {
    if (entry.name == name) return &entry;
  }
  return nullptr;
}

StatusOr<int64_t> FindZipData(ItemReader& item, const ZipEntry& entry) {
  const auto name_nbytes = static_cast<int64_t>(entry.name.size());
  DCP_ASSIGN_OR_RETURN(
      std::string_view header,
      item.Read(entry.header_offset, int64_t{kZipLocalNbytes} + name_nbytes));
  const auto flags = Load<uint16_t>(header, 6);
  const auto stored = Load<uint32_t>(header, 18);
  if (Load<uint32_t>(header, 0) != kZipLocalSignature ||
      Load<uint16_t>(header, 8) != 0 ||
      ((flags ^ entry.flags) & kZipFlagUtf8) != 0 ||
      Load<uint16_t>(header, 26) != name_nbytes ||
      header.substr(kZipLocalNbytes) != entry.name) {
    return Damaged("record " + Printable(entry.name) +
                   " does not match the directory");
  }
  if ((flags & kZipFlagDescriptor) == 0 && stored != kZip32Max &&
      stored != entry.nbytes) {
    return Damaged("record " + Printable(entry.name) +
                   " has another size than the directory says");
  }
  const int64_t data_offset = entry.header_offset + int64_t{kZipLocalNbytes} +
                              name_nbytes + Load<uint16_t>(header, 28);
  if (data_offset > entry.end_limit ||
      entry.nbytes > entry.end_limit - data_offset) {
    return Damaged("record " + Printable(entry.name) + " overlaps others");
  }
  return data_offset;
}

}  // namespace dcp
