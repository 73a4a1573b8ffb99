// HuggingFaceWriter: see dcp/hugging_face_storage.h.

#ifndef DCP_STORAGE_HUGGING_FACE_WRITER_H_
#define DCP_STORAGE_HUGGING_FACE_WRITER_H_

#include <memory>
#include <span>
#include <string>
#include <string_view>
#include <vector>

#include "comm/peer_exchange.h"
#include "dcp/hugging_face_storage.h"
#include "io/watched_file_system.h"
#include "staging/write_rate.h"
#include "storage/hugging_face_publish.h"
#include "storage/shared_layout.h"
#include "storage/shared_outcome.h"

namespace dcp {

class HuggingFaceWriter final : public StorageWriter {
 public:
  HuggingFaceWriter(HuggingFaceWriterOptions options,
                    StorageEnvironment environment);

  Status SetUp(const StorageRole& role) override;
  StatusOr<std::string> PrepareLocalPlan(const SavePlan& plan) override;
  StatusOr<std::vector<std::string>> PrepareGlobalPlan(
      const GlobalPlan& plan,
      std::span<const std::string> local_notes) override;
  StatusOr<WriteOutcome> WriteData(const SavePlan& plan, std::string_view notes,
                                   WriteSource& source) override;
  StatusOr<std::string> Finish(Metadata planned,
                               std::vector<WriteOutcome> outcomes) override;
  bool commit_attempted() const override {
    return publisher_ && publisher_->commit_attempted();
  }
  void Abort() override;
  StorageMeta storage_meta() const override;
  DType StoredDType(DType dtype) const override;
  /// What it was made of; the path is absolute.
  const HuggingFaceWriterOptions& options() const { return options_; }
  const FileSystem& file_system() const { return *unwatched_; }
  bool StoresTiesOnce() const override { return !options_.file_per_rank; }
  bool TakesStreams() const override { return true; }
  bool AppliesElementOps() const override { return true; }

 private:
  SyncMode sync_mode() const;
  StatusOr<SharedLayout> LayOut(const GlobalPlan& plan) const;
  void ChoosePlaces();
  /// Makes the files, empty, but for ranks' own, and tells each rank's part
  /// where they are.
  Status PlaceFiles(std::vector<SharedPart>* parts);
  StatusOr<SharedOutcome> WriteShared(const SavePlan& plan,
                                      const SharedPart& part,
                                      WriteSource& source);
  bool NeedsIndex() const;
  StatusOr<std::vector<SidecarFile>> JoinOutcomes(
      std::span<const WriteOutcome> outcomes);

  HuggingFaceWriterOptions options_;
  const std::shared_ptr<FileSystem> unwatched_;
  std::shared_ptr<WatchedFileSystem> file_system_;  // a new one for each save
  std::shared_ptr<DeviceRuntime> device_;
  std::shared_ptr<Clock> clock_;
  const std::shared_ptr<WriteRate> rate_;
  StorageRole role_;
  std::string save_id_;
  std::unique_ptr<PeerListener> listener_;
  // Of the coordinator:
  std::unique_ptr<HuggingFacePublisher> publisher_;
  SharedLayout layout_;
  std::vector<std::vector<size_t>> files_of_ranks_;  // FilesOfRanks
  std::vector<ShardPlace> places_;                   // of its files
};

}  // namespace dcp

#endif  // DCP_STORAGE_HUGGING_FACE_WRITER_H_
