// FileSystemWriter: the native format's StorageWriter. See
// dcp/filesystem_storage.h.

#ifndef DCP_STORAGE_FILESYSTEM_WRITER_H_
#define DCP_STORAGE_FILESYSTEM_WRITER_H_

#include <memory>
#include <span>
#include <string>
#include <string_view>
#include <vector>

#include "dcp/filesystem_storage.h"
#include "io/watched_file_system.h"
#include "staging/write_rate.h"
#include "storage/commit.h"
#include "storage/data_file.h"
#include "storage/directory_keeper.h"
#include "storage/limits.h"

namespace dcp {

class FileSystemWriter final : public StorageWriter {
 public:
  /// With `min_indexed_items` items or more the checkpoint gets indexed
  /// metadata.
  FileSystemWriter(FileSystemWriterOptions options,
                   StorageEnvironment environment,
                   size_t min_indexed_items = kMinIndexedItems);

  Status SetUp(const StorageRole& role) override;
  StatusOr<std::string> PrepareLocalPlan(const SavePlan& plan) override;
  StatusOr<std::vector<std::string>> PrepareGlobalPlan(
      const GlobalPlan& plan,
      std::span<const std::string> local_notes) override;
  StatusOr<WriteOutcome> WriteData(const SavePlan& plan, std::string_view notes,
                                   WriteSource& source) override;
  StatusOr<std::string> Finish(Metadata metadata,
                               std::vector<WriteOutcome> outcomes) override;
  /// After WriteData, of a rank that learns only then that it publishes, as
  /// under torch's protocol: what a coordinator's SetUp does more. Abort()
  /// still removes what was written.
  Status SetUpToPublish();
  /// The commit alone, with metadata that another planner made.
  /// `storage_data` holds that of every rank's outcome.
  Status Publish(std::string_view metadata_pickle,
                 std::span<const std::string> storage_data);
  Status Conclude() override;
  bool commit_attempted() const override { return commit_.attempted; }
  void Abort() override;
  StorageMeta storage_meta() const override;
  /// What it was made of; the path is absolute.
  const FileSystemWriterOptions& options() const { return options_; }
  const FileSystem& file_system() const { return *unwatched_; }
  DType StoredDType(DType dtype) const override;
  bool AppliesElementOps() const override { return true; }
  bool TakesStreams() const override {
    return options_.compression == Compression::kNone;
  }

 private:
  SyncMode sync_mode() const;
  /// Claims the directory for role_, if what is there may be replaced.
  Status Claim();
  /// `index`: indexed metadata, empty if there are none.
  Status PublishFiles(std::string_view metadata_pickle, std::string_view index,
                      std::span<const std::string> storage_data);
  Status WriteFiles(const SavePlan& plan, WriteSource& source);
  /// Creates, writes and closes one file for each element of `assigned`.
  Status WriteSomeFiles(std::span<const std::vector<const WriteItem*>> assigned,
                        WriteSource& source);
  StatusOr<std::unique_ptr<DataFile>> CreateFile();
  Status ActOnNotes(std::string_view serialized);

  FileSystemWriterOptions options_;
  const size_t min_indexed_items_;
  const std::shared_ptr<FileSystem> unwatched_;
  std::shared_ptr<WatchedFileSystem> file_system_;  // a new one for each save
  std::shared_ptr<DeviceRuntime> device_;
  std::shared_ptr<Clock> clock_;
  const std::shared_ptr<WriteRate> rate_;
  StorageRole role_;
  std::string save_id_;
  CommitProgress commit_;
  std::unique_ptr<DirectoryKeeper> keeper_;  // of the rank that publishes
  int64_t next_file_index_ = 0;
  std::vector<std::string> own_names_;  // data files of the rank, as found
  std::vector<std::unique_ptr<DataFile>> files_;
  std::vector<std::string> created_;  // names of this save's data files
};

}  // namespace dcp

#endif  // DCP_STORAGE_FILESYSTEM_WRITER_H_
