// The zip dialect of torch.save: stored records, padded so that data is
// aligned, sizes after the data.
//
// torch 2.13 caffe2/serialize/inline_container.cc and its miniz. Local headers
// have no sizes and no CRC (flag 8): those follow the data in a descriptor, and
// stand in the central directory. An extra field "FB" before the data pads it.

#ifndef DCP_FORMAT_ZIP_WRITER_H_
#define DCP_FORMAT_ZIP_WRITER_H_

#include <cstddef>
#include <cstdint>
#include <span>
#include <string_view>

namespace dcp {

/// A record of an archive. Offsets count from the start of the archive.
struct ZipRecord {
  std::string_view name;
  int64_t nbytes = 0;
  /// `data_offset`, plus where the archive starts in its file, is a multiple.
  int64_t alignment = 64;
  uint32_t crc32 = 0;

  // Set by LayoutZip.
  int64_t header_offset = 0;
  int64_t data_offset = 0;
};

struct ZipLayout {
  int64_t directory_offset = 0;
  int64_t nbytes = 0;
};

/// Places `records` one after the other in an archive that starts at
/// `base_offset` of its file.
ZipLayout LayoutZip(std::span<ZipRecord> records, int64_t base_offset);

/// A part of an archive in memory: the bytes from offset `start` on.
struct ZipWindow {
  std::span<std::byte> bytes;
  int64_t start = 0;
};

/// Writes the local header and the padding: all from header_offset up to
/// data_offset.
void PutZipHeader(const ZipRecord& record, const ZipWindow& window);
/// Writes the data of a record.
void PutZipData(const ZipRecord& record, std::string_view data,
                const ZipWindow& window);
/// Writes what follows the data; needs `crc32`.
void PutZipDescriptor(const ZipRecord& record, const ZipWindow& window);
/// Writes the central directory and the end records.
void PutZipDirectory(std::span<const ZipRecord> records,
                     const ZipLayout& layout, const ZipWindow& window);

}  // namespace dcp

#endif  // DCP_FORMAT_ZIP_WRITER_H_
