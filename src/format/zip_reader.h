// Reading archives of torch.save: the central directory and where data lies.
//
// Only stored records are accepted, so that an archive cannot expand; records
// must not overlap each other or the directory.

#ifndef DCP_FORMAT_ZIP_READER_H_
#define DCP_FORMAT_ZIP_READER_H_

#include <cstddef>
#include <cstdint>
#include <span>
#include <string>
#include <string_view>
#include <vector>

#include "dcp/status.h"

namespace dcp {

/// Serves the bytes of one item. One thread at a time.
class ItemSource {
 public:
  virtual ~ItemSource() = default;
  /// Fills `out` with the bytes from `item_offset` (from the item's start) on.
  /// Called with ranges within the item only.
  virtual Status Read(int64_t item_offset, std::span<std::byte> out) = 0;
};

/// An ItemSource that keeps the item's head and tail, where nearly everything
/// that a parser looks at lies: a small item costs one read, others two.
class ItemReader {
 public:
  /// `source` must outlive the reader.
  ItemReader(ItemSource& source, int64_t length)
      : source_(source), length_(length) {}

  int64_t length() const { return length_; }
  /// The bytes [item_offset, item_offset + nbytes), valid until the next call.
  /// \error kDataLoss  the range is not within the item
  StatusOr<std::string_view> Read(int64_t item_offset, int64_t nbytes);

 private:
  Status Fill(int64_t start, int64_t nbytes, std::string* buffer);

  ItemSource& source_;
  const int64_t length_;
  std::string tail_;     // the last bytes of the item
  std::string head_;     // the first ones
  std::string scratch_;  // what lies between
};

struct ZipEntry {
  std::string_view name;  ///< into ZipDirectory
  int64_t nbytes = 0;
  int64_t header_offset = 0;
  /// Where the next record or the directory begins: the data ends before.
  int64_t end_limit = 0;
  uint32_t crc32 = 0;  ///< 0: not recorded, or truly 0
  uint16_t flags = 0;  ///< of the directory
};

/// The central directory of one archive.
class ZipDirectory {
 public:
  /// \error kDataLoss  not a zip archive as torch.save writes it; a directory
  ///     of more than `max_nbytes`
  static StatusOr<ZipDirectory> Read(ItemReader& item, int64_t max_nbytes);

  /// In the order of their offsets.
  std::span<const ZipEntry> entries() const { return entries_; }
  /// nullptr if there is no such record.
  const ZipEntry* Find(std::string_view name) const;

 private:
  Status ParseEntries(size_t count, int64_t directory_offset);
  Status CheckNames() const;
  Status CheckOverlaps(int64_t directory_offset);

  std::vector<char> bytes_;  // the names' storage; does not move with *this
  std::vector<ZipEntry> entries_;
};

/// The offset of the record's data, from its local header, which is checked
/// against the directory.
StatusOr<int64_t> FindZipData(ItemReader& item, const ZipEntry& entry);

}  // namespace dcp

#endif  // DCP_FORMAT_ZIP_READER_H_
