// DataFile: one `.distcp` file while it is being written.

#ifndef DCP_STORAGE_DATA_FILE_H_
#define DCP_STORAGE_DATA_FILE_H_

#include <cstdint>
#include <memory>
#include <string>
#include <vector>

#include "dcp/file_system.h"
#include "dcp/plan.h"
#include "dcp/status.h"
#include "dcp/storage.h"
#include "format/sidecar.h"
#include "io/watched_file_system.h"
#include "storage/block_checksums.h"

namespace dcp {

/// Owns the open file and what is known of its content so far.
class DataFile {
 public:
  /// Creates `directory`/`name`; the name must be free.
  static StatusOr<std::unique_ptr<DataFile>> Create(
      WatchedFileSystem& file_system, const std::string& directory,
      std::string name, DirectIo direct_io);

  File& file() { return *file_; }
  /// The same for who watches its calls itself.
  const std::shared_ptr<File>& unwatched() const { return file_->unwatched(); }
  const std::string& name() const { return name_; }
  BlockChecksums& checksums() { return checksums_; }

  /// End of the last item.
  int64_t end() const { return end_; }

  /// What all items go through: StorageInfo::transform_descriptors.
  void SetTransforms(std::vector<std::string> transforms) {
    transforms_ = std::move(transforms);
  }
  /// Records that `item`, which stays until TakeResults, occupies `placed`;
  /// items are added in file order.
  void AddItem(const WriteItem& item, const SidecarItem& placed);

  /// Cuts padding, syncs if asked, closes. The file is complete then.
  Status Finish(SyncMode sync);

  /// Adds to `results`, and moves the sidecar record out. After Finish.
  void TakeResults(std::vector<WriteResult>* results, SidecarFile* record);

 private:
  DataFile(std::string name, std::unique_ptr<WatchedFile> file)
      : name_(std::move(name)),
        file_(std::move(file)),
        may_be_padded_(file_->direct_io().has_value()) {}

  std::string name_;
  std::unique_ptr<WatchedFile> file_;
  const bool may_be_padded_;  // also if direct I/O was refused later
  BlockChecksums checksums_;
  int64_t end_ = 0;
  std::vector<std::string> transforms_;
  std::vector<const WriteItem*> items_;
  std::vector<SidecarItem> places_;  // of items_
};

}  // namespace dcp

#endif  // DCP_STORAGE_DATA_FILE_H_
