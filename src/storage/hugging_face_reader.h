// HuggingFaceReader: see dcp/hugging_face_storage.h.

#ifndef DCP_STORAGE_HUGGING_FACE_READER_H_
#define DCP_STORAGE_HUGGING_FACE_READER_H_

#include <memory>
#include <string_view>

#include "dcp/hugging_face_storage.h"
#include "format/sidecar.h"
#include "storage/hugging_face_directory.h"
#include "storage/planned_files.h"
#include "storage/quantized_tensors.h"

namespace dcp {

/// Whether `index` is one that a HuggingFaceReader has read.
bool IsSafetensors(const CheckpointIndex& index);

struct HuggingFaceNotes {
  QuantizedTensors quantized;
  Sidecar sidecar;  ///< without files if there is none
};

/// Of the `storage_data` of an index.
/// \error kDataLoss  not what a HuggingFaceReader has written
StatusOr<HuggingFaceNotes> ParseHuggingFaceNotes(std::string_view storage_data);

class HuggingFaceReader final : public StorageReader {
 public:
  HuggingFaceReader(HuggingFaceReaderOptions options,
                    StorageEnvironment environment);

  StatusOr<CheckpointIndex> ReadIndex() override;
  /// \error kNotFound  always: ranks' files are read as one checkpoint
  StatusOr<CheckpointIndex> ReadRankIndex(int rank) override;
  Status SetUp(const CheckpointIndex& index, const StorageRole& role) override;
  Status OpenData(const LoadPlan& plan) override;
  Status HoldData() override;
  Status ReadData(const LoadPlan& plan, ReadTarget& target) override;
  int64_t nbytes_read() const override { return nbytes_read_; }

 private:
  /// One call of ReadData's, for some items.
  class ReadJob;

  StatusOr<CheckpointIndex> ReadDirectory();
  StatusOr<HuggingFaceCheckpoint> ReadHeaders() const;

  HuggingFaceReaderOptions options_;
  std::shared_ptr<FileSystem> file_system_;
  std::shared_ptr<DeviceRuntime> device_;
  const Metadata* metadata_ = nullptr;
  QuantizedTensors quantized_;
  Sidecar sidecar_;
  std::unique_ptr<PlannedFiles> files_;  // from SetUp on
  int64_t nbytes_read_ = 0;
};

}  // namespace dcp

#endif  // DCP_STORAGE_HUGGING_FACE_READER_H_
