// TorchFileReader: see dcp/torch_file_storage.h.

#ifndef DCP_STORAGE_TORCH_FILE_READER_H_
#define DCP_STORAGE_TORCH_FILE_READER_H_

#include <memory>
#include <string>
#include <string_view>
#include <unordered_map>
#include <unordered_set>

#include "dcp/torch_file_storage.h"
#include "format/torch_file_contents.h"
#include "storage/partial_crcs.h"
#include "storage/stored_item.h"

namespace dcp {

class TorchFileReader final : public StorageReader {
 public:
  TorchFileReader(TorchFileReaderOptions options,
                  StorageEnvironment environment);

  StatusOr<CheckpointIndex> ReadIndex() override;
  /// \error kNotFound  always
  StatusOr<CheckpointIndex> ReadRankIndex(int rank) override;
  Status SetUp(const CheckpointIndex& index, const StorageRole& role) override;
  Status ReadData(const LoadPlan& plan, ReadTarget& target) override;
  void ExpectParts() override { expects_parts_ = true; }
  int64_t nbytes_read() const override { return nbytes_read_; }

 private:
  /// One call of ReadData's.
  class ReadJob;

  Status Open();
  CheckpointIndex MakeIndex() const;
  /// The whole storage against its CRC-32, once.
  Status CheckStorage(const TorchFileTensor& tensor);

  const TorchFileReaderOptions options_;
  const std::string path_;
  std::string directory_;  // of the file
  std::string name_;
  const std::shared_ptr<FileSystem> file_system_;
  const std::shared_ptr<DeviceRuntime> device_;
  std::unique_ptr<File> file_;  // from Open on
  int64_t file_nbytes_ = 0;
  TorchFileContents contents_;
  std::unordered_map<std::string_view, const TorchFileTensor*> tensors_;
  std::unordered_map<std::string_view, const TorchFileObject*> objects_;
  std::unordered_set<std::string> checked_;  // keys of storages
  bool expects_parts_ = false;
  PartialCrcs parts_;
  int64_t nbytes_read_ = 0;
};

}  // namespace dcp

#endif  // DCP_STORAGE_TORCH_FILE_READER_H_
