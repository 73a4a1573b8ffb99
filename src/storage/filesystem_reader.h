// FileSystemReader: the native format's StorageReader. See
// dcp/filesystem_storage.h.

#ifndef DCP_STORAGE_FILESYSTEM_READER_H_
#define DCP_STORAGE_FILESYSTEM_READER_H_

#include <memory>
#include <string>
#include <string_view>

#include "dcp/filesystem_storage.h"
#include "format/sidecar.h"

namespace dcp {

class FileSystemReader final : public StorageReader {
 public:
  FileSystemReader(FileSystemReaderOptions options,
                   StorageEnvironment environment);

  StatusOr<CheckpointIndex> ReadIndex() override;
  StatusOr<CheckpointIndex> ReadRankIndex(int rank) override;
  Status SetUp(const CheckpointIndex& index, const StorageRole& role) override;
  Status ReadData(const LoadPlan& plan, ReadTarget& target) override;

  int64_t nbytes_read() const override { return nbytes_read_; }

 private:
  StatusOr<CheckpointIndex> ReadIndexFile(const std::string& name);
  /// The bytes of the sidecar that belongs to `metadata_pickle`.
  StatusOr<std::string> ReadSidecar(std::string_view save_id,
                                    std::string_view metadata_pickle);

  FileSystemReaderOptions options_;
  std::shared_ptr<FileSystem> file_system_;
  std::shared_ptr<DeviceRuntime> device_;
  const Metadata* metadata_ = nullptr;
  Sidecar sidecar_;
  int64_t nbytes_read_ = 0;
};

}  // namespace dcp

#endif  // DCP_STORAGE_FILESYSTEM_READER_H_
