// BrokenWriter: a StorageWriter that fails in a step of a test's choice.

#ifndef DCP_TESTS_CHECKPOINT_BROKEN_WRITER_H_
#define DCP_TESTS_CHECKPOINT_BROKEN_WRITER_H_

#include <functional>
#include <memory>
#include <string>
#include <utility>
#include <vector>

#include "dcp/storage.h"

namespace dcp {

enum class SaveStep : uint8_t {
  kNone,
  kSetUp,
  kPrepareLocalPlan,
  kPrepareGlobalPlan,
  kWriteData,
  kFinish,
};

/// Passes everything on to `base`, up to the step that fails.
class BrokenWriter final : public StorageWriter {
 public:
  BrokenWriter(std::unique_ptr<StorageWriter> base, SaveStep fails_in)
      : base_(std::move(base)), fails_in_(fails_in) {}

  /// Changes the notes that PrepareGlobalPlan makes.
  std::function<void(std::vector<std::string>&)> forge_notes;
  /// Changes what WriteData says it did.
  std::function<void(WriteOutcome&)> forge;

  Status SetUp(const StorageRole& role) override {
    DCP_RETURN_IF_ERROR(base_->SetUp(role));
    return FailIn(SaveStep::kSetUp);
  }
  StatusOr<std::string> PrepareLocalPlan(const SavePlan& plan) override {
    DCP_RETURN_IF_ERROR(FailIn(SaveStep::kPrepareLocalPlan));
    return base_->PrepareLocalPlan(plan);
  }
  StatusOr<std::vector<std::string>> PrepareGlobalPlan(
      const GlobalPlan& plan,
      std::span<const std::string> local_notes) override {
    DCP_RETURN_IF_ERROR(FailIn(SaveStep::kPrepareGlobalPlan));
    DCP_ASSIGN_OR_RETURN(std::vector<std::string> notes,
                         base_->PrepareGlobalPlan(plan, local_notes));
    if (forge_notes) forge_notes(notes);
    return notes;
  }
  StatusOr<WriteOutcome> WriteData(const SavePlan& plan, std::string_view notes,
                                   WriteSource& source) override {
    DCP_ASSIGN_OR_RETURN(WriteOutcome outcome,
                         base_->WriteData(plan, notes, source));
    if (forge) forge(outcome);
    DCP_RETURN_IF_ERROR(FailIn(SaveStep::kWriteData));
    return outcome;
  }
  StatusOr<std::string> Finish(Metadata metadata,
                               std::vector<WriteOutcome> outcomes) override {
    DCP_RETURN_IF_ERROR(FailIn(SaveStep::kFinish));
    return base_->Finish(std::move(metadata), std::move(outcomes));
  }
  bool commit_attempted() const override { return base_->commit_attempted(); }
  void Abort() override { base_->Abort(); }
  StorageMeta storage_meta() const override { return base_->storage_meta(); }
  DType StoredDType(DType dtype) const override {
    return base_->StoredDType(dtype);
  }

 private:
  Status FailIn(SaveStep step) const {
    if (step != fails_in_) return absl::OkStatus();
    return Unimplemented("broken in step " + std::to_string(int(step)));
  }

  const std::unique_ptr<StorageWriter> base_;
  const SaveStep fails_in_;
};

}  // namespace dcp

#endif  // DCP_TESTS_CHECKPOINT_BROKEN_WRITER_H_
