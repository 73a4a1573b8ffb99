// PlannedFiles: the data files that a load plan needs, few of them open at a
// time.

#ifndef DCP_STORAGE_PLANNED_FILES_H_
#define DCP_STORAGE_PLANNED_FILES_H_

#include <cstdint>
#include <functional>
#include <memory>
#include <optional>
#include <span>
#include <string>

#include "dcp/file_system.h"
#include "dcp/metadata.h"
#include "dcp/plan.h"
#include "dcp/status.h"
#include "dcp/storage.h"
#include "format/sidecar.h"
#include "storage/open_files.h"
#include "storage/stored_item.h"

namespace dcp {

/// What all readers of files do around reading. One thread at a time.
class PlannedFiles {
 public:
  /// Reads some items, whose files are in `files` or are opened there.
  using ReadItems = std::function<Status(std::span<const StoredItem> items,
                                         OpenFiles& files)>;

  /// `file_system`, `metadata` and `sidecar` outlive the object.
  PlannedFiles(FileSystem& file_system, std::string directory,
               DirectIo direct_io, const Metadata& metadata,
               const Sidecar& sidecar);

  /// Opens the first files of `plan`, as many as may be open. Items that the
  /// metadata does not place are for Read to report.
  Status Open(const LoadPlan& plan);
  /// Opens all files for every Read from now on, if they are at most
  /// kMaxHeldFiles.
  Status Hold();
  /// Bytes of the file `name`, if Open has opened it. Until Read.
  std::optional<int64_t> NbytesOfOpen(const std::string& name) const;

  /// Calls `read` with the items of `plan`, in the order of files and offsets,
  /// a few thousand at a time, of files that may all be open.
  Status Read(const LoadPlan& plan, const ReadItems& read);

  /// Files of the checkpoint for other use, none open yet. Thread-safe.
  std::unique_ptr<OpenFiles> MakeOpenFiles() const;

 private:
  FileSystem& file_system_;
  const std::string directory_;
  const DirectIo direct_io_;
  const Metadata& metadata_;
  const Sidecar& sidecar_;
  std::unique_ptr<OpenFiles> files_;  // from Open to Read
  std::unique_ptr<OpenFiles> held_;
};

/// Tells `target` that all tensors of `plan` are there.
Status CommitTensors(const LoadPlan& plan, ReadTarget& target);

}  // namespace dcp

#endif  // DCP_STORAGE_PLANNED_FILES_H_
