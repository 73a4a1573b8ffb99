// The data files of a checkpoint, checked from the first byte to the last.

#ifndef DCP_STORAGE_FILE_CHECK_H_
#define DCP_STORAGE_FILE_CHECK_H_

#include <cstdint>
#include <span>
#include <string>

#include "dcp/filesystem_storage.h"
#include "format/sidecar.h"
#include "storage/damage_log.h"
#include "storage/stored_item.h"

namespace dcp {

struct FileCheckRequest {
  FileSystem& file_system;
  DeviceRuntime& device;
  std::string directory;
  /// Files that it lists are checked as a whole, others item by item.
  const Sidecar& sidecar;
  /// Without reads, by file and offset.
  std::span<const StoredItem> items;
  const IoOptions& io;
};

struct FileCheckTotals {
  int64_t files = 0;
  int64_t nbytes = 0;  ///< of data that was there to be checked
};

/// Checks the files of the items and of the sidecar. What is wrong goes to
/// `log`.
/// \error only what keeps all checks from working
StatusOr<FileCheckTotals> CheckFiles(const FileCheckRequest& request,
                                     DamageLog& log);

}  // namespace dcp

#endif  // DCP_STORAGE_FILE_CHECK_H_
