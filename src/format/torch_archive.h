// The records that every archive of torch.save has around its data.

#ifndef DCP_FORMAT_TORCH_ARCHIVE_H_
#define DCP_FORMAT_TORCH_ARCHIVE_H_

#include <cstddef>
#include <cstdint>
#include <span>
#include <string>
#include <string_view>

#include "format/zip_writer.h"

namespace dcp {

/// data.pkl, .format_version, .storage_alignment, byteorder.
inline constexpr size_t kArchiveHeadCount = 4;
/// version, .data/serialization_id.
inline constexpr size_t kArchiveTailCount = 2;

/// Fills in name, size and CRC of the first kArchiveHeadCount records.
void FillHead(std::string_view pickle, std::span<ZipRecord> records);
/// Fills in name and size of the last kArchiveTailCount records.
void FillTail(std::span<ZipRecord> records);

/// Writes the head records, which LayoutZip has placed.
void PutHead(std::span<const ZipRecord> records, std::string_view pickle,
             const ZipWindow& window);
/// Writes the tail records and sets their CRCs.
void PutTail(std::string_view serialization_id, std::span<ZipRecord> records,
             const ZipWindow& window);

/// 40 digits that depend on the content alone. torch's are a hash of names and
/// CRCs as well; nothing reads them but logs.
std::string SerializationId(uint32_t pickle_crc32, uint32_t data_crc32);

}  // namespace dcp

#endif  // DCP_FORMAT_TORCH_ARCHIVE_H_
