// OpenFiles: the data files of a checkpoint that a load reads.

#ifndef DCP_STORAGE_OPEN_FILES_H_
#define DCP_STORAGE_OPEN_FILES_H_

#include <cstdint>
#include <memory>
#include <string>
#include <unordered_map>

#include "dcp/file_system.h"
#include "dcp/status.h"
#include "format/sidecar.h"
#include "storage/stored_item.h"

namespace dcp {

struct OpenFile {
  std::unique_ptr<File> file;
  int64_t nbytes = 0;
  /// What our sidecar says of the file, nullptr if there is none.
  const SidecarFile* record = nullptr;
};

/// Opens files of one checkpoint by their relative path, each once.
class OpenFiles {
 public:
  OpenFiles(FileSystem& file_system, std::string directory, DirectIo direct_io,
            const Sidecar& sidecar);

  /// The file `relative_path`, opened if need be. `index` names an item in it,
  /// for the error.
  /// \error as Get, but for what concerns an item's range
  StatusOr<OpenFile*> Open(const std::string& relative_path,
                           const MetadataIndex& index);

  /// The file `relative_path` if it has been opened, else null.
  const OpenFile* Find(const std::string& relative_path) const;

  /// The file of `item`, opened if need be.
  /// \error kInvalidArgument  the path leaves the checkpoint directory
  /// \error kNotFound         no such file
  /// \error kDataLoss         the file is not as long as the item or the
  ///     sidecar say
  StatusOr<OpenFile*> Get(const StoredItem& item);

 private:
  Status OpenInto(const std::string& relative_path, OpenFile* file);

  FileSystem& file_system_;
  std::string directory_;
  std::string root_;
  DirectIo direct_io_;
  std::unordered_map<std::string, const SidecarFile*> records_;
  std::unordered_map<std::string, OpenFile> files_;
};

}  // namespace dcp

#endif  // DCP_STORAGE_OPEN_FILES_H_
