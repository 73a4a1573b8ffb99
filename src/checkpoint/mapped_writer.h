// MappedWriter: writes what a mapping makes of the tensors that it is given.

#ifndef DCP_CHECKPOINT_MAPPED_WRITER_H_
#define DCP_CHECKPOINT_MAPPED_WRITER_H_

#include <memory>
#include <span>
#include <string>
#include <string_view>
#include <vector>

#include "dcp/mapping.h"
#include "dcp/storage.h"

namespace dcp {

/// Over a writer of safetensors: one that makes its outcomes' storage_data
/// alone into what it publishes.
///
/// A save plans, balances and checks the tensors that it has. The coordinator
/// then maps the global plan (MapPlan), and the target sees nothing but mapped
/// tensors, whose memory is the others', with their strides.
class MappedWriter final : public StorageWriter {
 public:
  MappedWriter(std::unique_ptr<StorageWriter> target, ModelMapping mapping);

  Status SetUp(const StorageRole& role) override;
  StatusOr<std::string> PrepareLocalPlan(const SavePlan& plan) override;
  StatusOr<std::vector<std::string>> PrepareGlobalPlan(
      const GlobalPlan& plan,
      std::span<const std::string> local_notes) override;
  StatusOr<WriteOutcome> WriteData(const SavePlan& plan, std::string_view notes,
                                   WriteSource& source) override;
  StatusOr<std::string> Finish(Metadata native,
                               std::vector<WriteOutcome> outcomes) override;
  bool commit_attempted() const override { return target_->commit_attempted(); }
  void Abort() override { target_->Abort(); }
  StorageMeta storage_meta() const override { return target_->storage_meta(); }
  /// A rule may leave one out, which is no loss if the plans say so.
  bool StoresTiesOnce() const override { return true; }
  bool AppliesElementOps() const override {
    return target_->AppliesElementOps();
  }

 private:
  const std::unique_ptr<StorageWriter> target_;
  const ModelMapping mapping_;
  Metadata metadata_;  // of what is written; the coordinator's
};

}  // namespace dcp

#endif  // DCP_CHECKPOINT_MAPPED_WRITER_H_
