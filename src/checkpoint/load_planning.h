// From what a rank wants to what it must read.

#ifndef DCP_CHECKPOINT_LOAD_PLANNING_H_
#define DCP_CHECKPOINT_LOAD_PLANNING_H_

#include <span>
#include <vector>

#include "absl/base/thread_annotations.h"
#include "base/mutex.h"
#include "dcp/checkpoint.h"
#include "dcp/storage.h"

namespace dcp {

/// Plans the reads of `entries` and notes in `result` what is missing,
/// unexpected and cast.
/// \error see Load
StatusOr<LoadPlan> MakeLoadPlan(std::span<const LoadEntry> entries,
                                const Metadata& metadata,
                                const LoadOptions& options, LoadResult* result);

/// Delivers a load to the views of its entries. Thread-safe.
class EntryTarget final : public ReadTarget {
 public:
  explicit EntryTarget(std::span<const LoadEntry> entries,
                       Transport* transport = nullptr)
      : entries_(entries), transport_(transport) {}

  StatusOr<TensorView> ResolveTensor(const ReadItem& item) override;
  Status LoadObject(const ReadItem& item, std::string object) override;
  Status LoadOpaqueTensor(const ReadItem& item, std::string object) override;
  Status CommitTensor(const ReadItem& item) override;
  Status Proceed() override {
    return transport_ == nullptr ? absl::OkStatus() : transport_->Check();
  }

  /// The objects so far, in the order of the entries.
  std::vector<LoadedObject> TakeObjects();

 private:
  std::span<const LoadEntry> entries_;
  Transport* transport_;  // of the load; null if this process is alone
  Mutex mutex_;
  std::vector<LoadedObject> objects_ ABSL_GUARDED_BY(mutex_);
};

}  // namespace dcp

#endif  // DCP_CHECKPOINT_LOAD_PLANNING_H_
