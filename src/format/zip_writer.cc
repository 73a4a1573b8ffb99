#include "format/zip_writer.h"

#include <algorithm>
#include <cstring>

#include "format/zip_format.h"

namespace dcp {
namespace {

constexpr size_t kPaddingHeaderNbytes = 4;      // "FB", length
constexpr size_t kZip64OffsetExtraNbytes = 12;  // id, length, offset

/// Writes little-endian values one after the other.
class Cursor {
 public:
  Cursor(const ZipWindow& window, int64_t offset)
      : at_(window.bytes.data() + (offset - window.start)) {}

  template <typename T>
  void Put(T value) {
    std::memcpy(at_, &value, sizeof(value));
    at_ += sizeof(value);
  }
  void U16(uint64_t value) { Put(static_cast<uint16_t>(value)); }
  void U32(uint64_t value) { Put(static_cast<uint32_t>(value)); }
  void U64(int64_t value) { Put(value); }
  /// `value`, or the mark for a zip64 field.
  void Saturated(int64_t value) {
    U32(static_cast<uint64_t>(std::min<int64_t>(value, kZip32Max)));
  }
  void Text(std::string_view text) {
    std::memcpy(at_, text.data(), text.size());
    at_ += text.size();
  }
  void Fill(char value, size_t nbytes) {
    std::memset(at_, value, nbytes);
    at_ += nbytes;
  }

 private:
  std::byte* at_;
};

bool IsLarge(int64_t value) { return value >= int64_t{kZip32Max}; }

uint16_t Flags(const ZipRecord& record) {
  return record.nbytes == 0 ? kZipFlagUtf8 : kZipFlagUtf8 | kZipFlagDescriptor;
}

int64_t DescriptorNbytes(const ZipRecord& record) {
  if (record.nbytes == 0) return 0;
  const bool large = IsLarge(record.nbytes) || IsLarge(record.header_offset);
  return static_cast<int64_t>(large ? kZip64DescriptorNbytes
                                    : kZipDescriptorNbytes);
}

size_t CentralExtraNbytes(const ZipRecord& record) {
  const size_t sizes = IsLarge(record.nbytes) ? 16 : 0;
  const size_t offset = IsLarge(record.header_offset) ? 8 : 0;
  return sizes + offset == 0 ? 0 : 4 + sizes + offset;
}

int64_t CentralNbytes(const ZipRecord& record) {
  return static_cast<int64_t>(kZipCentralNbytes + record.name.size() +
                              CentralExtraNbytes(record));
}

int64_t AlignUp(int64_t offset, int64_t alignment) {
  return (offset + alignment - 1) / alignment * alignment;
}

void PutCentral(const ZipRecord& record, Cursor* out) {
  out->U32(kZipCentralSignature);
  out->U32(0);  // versions
  out->U16(Flags(record));
  out->U16(0);  // stored
  out->U32(0);  // time and date
  out->U32(record.crc32);
  out->Saturated(record.nbytes);
  out->Saturated(record.nbytes);
  out->U16(record.name.size());
  out->U16(CentralExtraNbytes(record));
  out->U16(0);  // comment
  out->U16(0);  // disk
  out->U16(0);  // internal attributes
  out->U32(0);  // external attributes
  out->Saturated(record.header_offset);
  out->Text(record.name);
  const size_t extra = CentralExtraNbytes(record);
  if (extra == 0) return;
  out->U16(kZip64ExtraId);
  out->U16(extra - 4);
  if (IsLarge(record.nbytes)) {
    out->U64(record.nbytes);
    out->U64(record.nbytes);
  }
  if (IsLarge(record.header_offset)) out->U64(record.header_offset);
}

void PutZip64End(size_t count, int64_t directory_offset,
                 int64_t directory_nbytes, Cursor* out) {
  out->U32(kZip64EndSignature);
  out->U64(kZip64EndNbytes - 12);
  out->U16(0x031e);  // made by: as miniz
  out->U16(0x002d);  // version needed: zip64
  out->U32(0);       // disk
  out->U32(0);       // disk of the directory
  out->U64(static_cast<int64_t>(count));
  out->U64(static_cast<int64_t>(count));
  out->U64(directory_nbytes);
  out->U64(directory_offset);
  out->U32(kZip64LocatorSignature);
  out->U32(0);  // disk
  out->U64(directory_offset + directory_nbytes);
  out->U32(1);  // disks
}

int64_t DirectoryNbytes(std::span<const ZipRecord> records) {
  int64_t nbytes = 0;
  for (const ZipRecord& record : records) nbytes += CentralNbytes(record);
  return nbytes;
}

}  // namespace

ZipLayout LayoutZip(std::span<ZipRecord> records, int64_t base_offset) {
  int64_t position = 0;
  for (ZipRecord& record : records) {
    record.header_offset = position;
    size_t header = kZipLocalNbytes + record.name.size() + kPaddingHeaderNbytes;
    if (IsLarge(position)) header += kZip64OffsetExtraNbytes;
    const int64_t unpadded = position + static_cast<int64_t>(header);
    record.data_offset =
        AlignUp(base_offset + unpadded, record.alignment) - base_offset;
    position = record.data_offset + record.nbytes + DescriptorNbytes(record);
  }
  const auto end_nbytes = static_cast<int64_t>(
      kZip64EndNbytes + kZip64LocatorNbytes + kZipEndNbytes);
  return {.directory_offset = position,
          .nbytes = position + DirectoryNbytes(records) + end_nbytes};
}

void PutZipHeader(const ZipRecord& record, const ZipWindow& window) {
  Cursor out(window, record.header_offset);
  const auto total =
      static_cast<size_t>(record.data_offset - record.header_offset);
  const size_t extra = total - kZipLocalNbytes - record.name.size();
  out.U32(kZipLocalSignature);
  out.U16(0);  // version needed
  out.U16(Flags(record));
  out.U16(0);       // stored
  out.U32(0);       // time and date
  out.Fill(0, 12);  // CRC and sizes: in the descriptor
  out.U16(record.name.size());
  out.U16(extra);
  out.Text(record.name);
  size_t padding = extra - kPaddingHeaderNbytes;
  if (IsLarge(record.header_offset)) {
    out.U16(kZip64ExtraId);
    out.U16(8);
    out.U64(record.header_offset);
    padding -= kZip64OffsetExtraNbytes;
  }
  out.Text("FB");
  out.U16(padding);
  out.Fill('Z', padding);
}

void PutZipData(const ZipRecord& record, std::string_view data,
                const ZipWindow& window) {
  Cursor(window, record.data_offset).Text(data);
}

void PutZipDescriptor(const ZipRecord& record, const ZipWindow& window) {
  if (record.nbytes == 0) return;
  Cursor out(window, record.data_offset + record.nbytes);
  out.U32(kZipDescriptorSignature);
  out.U32(record.crc32);
  if (DescriptorNbytes(record) == kZip64DescriptorNbytes) {
    out.U64(record.nbytes);
    out.U64(record.nbytes);
  } else {
    out.Saturated(record.nbytes);
    out.Saturated(record.nbytes);
  }
}

void PutZipDirectory(std::span<const ZipRecord> records,
                     const ZipLayout& layout, const ZipWindow& window) {
  Cursor out(window, layout.directory_offset);
  for (const ZipRecord& record : records) PutCentral(record, &out);
  const int64_t nbytes = DirectoryNbytes(records);
  // torch writes the zip64 end records into small archives too.
  PutZip64End(records.size(), layout.directory_offset, nbytes, &out);
  out.U32(kZipEndSignature);
  out.U32(0);  // disks
  out.U16(records.size());
  out.U16(records.size());
  out.Saturated(nbytes);
  out.Saturated(layout.directory_offset);
  out.U16(0);  // comment
}

}  // namespace dcp
