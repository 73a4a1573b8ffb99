// TorchRecords: the named records of an archive that torch.save wrote.

#ifndef DCP_FORMAT_TORCH_RECORDS_H_
#define DCP_FORMAT_TORCH_RECORDS_H_

#include <cstdint>
#include <string>
#include <string_view>

#include "dcp/status.h"
#include "format/zip_reader.h"

namespace dcp {

/// Names are without the archive's folder ("archive/"), which torch takes from
/// the first record.
class TorchRecords {
 public:
  /// Both must outlive the records.
  /// \error kDataLoss  the record "version" is not there, or names none that
  ///                   torch reads
  static StatusOr<TorchRecords> Open(ItemReader& item,
                                     const ZipDirectory& directory);

  /// \error kDataLoss  there is no such record
  StatusOr<const ZipEntry*> Find(std::string_view name) const;
  /// The content of a record, checked against its CRC.
  /// \error kDataLoss  it is not there, larger than `max_nbytes`, or damaged
  StatusOr<std::string> Read(std::string_view name, int64_t max_nbytes) const;
  /// Whether the record "byteorder" says so; it is absent before torch 2.1.
  StatusOr<bool> IsBigEndian() const;

 private:
  TorchRecords(ItemReader& item, const ZipDirectory& directory);

  Status CheckVersion() const;
  std::string FullName(std::string_view name) const;

  ItemReader& item_;
  const ZipDirectory& directory_;
  std::string_view folder_;
};

}  // namespace dcp

#endif  // DCP_FORMAT_TORCH_RECORDS_H_
