// TorchFileWriter: see dcp/torch_file_storage.h.

#ifndef DCP_STORAGE_TORCH_FILE_WRITER_H_
#define DCP_STORAGE_TORCH_FILE_WRITER_H_

#include <deque>
#include <memory>
#include <optional>
#include <span>
#include <string>
#include <string_view>
#include <unordered_map>
#include <vector>

#include "dcp/torch_file_storage.h"
#include "format/state_pickle.h"
#include "io/watched_file_system.h"
#include "storage/torch_file_image.h"

namespace dcp {

class TorchFileWriter final : public StorageWriter {
 public:
  TorchFileWriter(TorchFileWriterOptions options,
                  StorageEnvironment environment);

  Status SetUp(const StorageRole& role) override;
  StatusOr<std::string> PrepareLocalPlan(const SavePlan& plan) override;
  StatusOr<std::vector<std::string>> PrepareGlobalPlan(
      const GlobalPlan& plan,
      std::span<const std::string> local_notes) override;
  StatusOr<WriteOutcome> WriteData(const SavePlan& plan, std::string_view notes,
                                   WriteSource& source) override;
  StatusOr<std::string> Finish(Metadata metadata,
                               std::vector<WriteOutcome> outcomes) override;
  bool commit_attempted() const override { return commit_attempted_; }
  void Abort() override;
  StorageMeta storage_meta() const override;
  bool AppliesElementOps() const override { return true; }
  bool TakesStreams() const override { return true; }

 private:
  Status Write(const SavePlan& plan, WriteSource& source,
               std::vector<WriteResult>* results);
  Status WriteImage(TorchFileImage& image, WriteSource& source);

  TorchFileWriterOptions options_;
  const std::shared_ptr<FileSystem> unwatched_;
  std::shared_ptr<WatchedFileSystem> file_system_;  // a new one for each save
  std::optional<std::unordered_map<std::string, ObjectPath>> paths_;
  std::string partial_;  // name of the file that grows; empty: there is none
  bool commit_attempted_ = false;
};

}  // namespace dcp

#endif  // DCP_STORAGE_TORCH_FILE_WRITER_H_
