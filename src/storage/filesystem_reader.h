// FileSystemReader: the native format's StorageReader. See
// dcp/filesystem_storage.h.

#ifndef DCP_STORAGE_FILESYSTEM_READER_H_
#define DCP_STORAGE_FILESYSTEM_READER_H_

#include <memory>
#include <optional>
#include <span>
#include <string>
#include <string_view>

#include "dcp/filesystem_storage.h"
#include "format/sidecar.h"
#include "storage/metadata_reader.h"
#include "storage/outline_reader.h"
#include "storage/partial_crcs.h"
#include "storage/planned_files.h"
#include "storage/pooled_reads.h"

namespace dcp {

class FileSystemReader final : public StorageReader,
                               public PoolingReader,
                               public OutlineReader {
 public:
  FileSystemReader(FileSystemReaderOptions options,
                   StorageEnvironment environment);

  StatusOr<CheckpointIndex> ReadIndex() override;
  StatusOr<CheckpointIndex> ReadRankIndex(int rank) override;
  Status SetUp(const CheckpointIndex& index, const StorageRole& role) override;
  Status OpenData(const LoadPlan& plan) override;
  Status HoldData() override;
  Status ReadData(const LoadPlan& plan, ReadTarget& target) override;
  void ExpectParts() override {
    if (options_.verify) parts_ = std::make_unique<PartialCrcs>();
  }

  int64_t nbytes_read() const override { return nbytes_read_; }

  StatusOr<std::string> OfferPool(const LoadPlan& plan) override;
  void JoinPool(std::string_view pool) override;
  void LeavePool() override { pool_.reset(); }

  StatusOr<CheckpointOutline> ReadOutline() override;
  Status ReadEntries(std::span<const std::string_view> fqns,
                     Metadata* metadata) override;
  StatusOr<CheckpointIndex> ReadIndexWithoutPaths() override;
  StatusOr<std::optional<BoundIndex>> OpenIndex() override;

 private:
  Status ReadItems(const LoadPlan& plan, ReadTarget& target);
  MetadataReader metadata_reader() const;

  FileSystemReaderOptions options_;
  std::shared_ptr<FileSystem> file_system_;
  std::shared_ptr<DeviceRuntime> device_;
  const Metadata* metadata_ = nullptr;
  Sidecar sidecar_;
  std::unique_ptr<PlannedFiles> files_;  // from SetUp on
  std::unique_ptr<PartialCrcs> parts_;   // if parts are expected
  std::unique_ptr<PooledReads> pool_;    // if this rank does not read alone
  int64_t nbytes_read_ = 0;
};

}  // namespace dcp

#endif  // DCP_STORAGE_FILESYSTEM_READER_H_
