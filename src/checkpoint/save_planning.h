// From a rank's entries to its plan, and back to the data of each item.

#ifndef DCP_CHECKPOINT_SAVE_PLANNING_H_
#define DCP_CHECKPOINT_SAVE_PLANNING_H_

#include <cstdint>
#include <memory>
#include <span>
#include <string>
#include <utility>

#include "dcp/checkpoint.h"
#include "dcp/storage.h"

namespace dcp {

/// What this rank holds, one item an entry, in order.
/// \error kInvalidArgument  a view whose shape does not fit its global shape,
///     a key that occurs twice
StatusOr<SavePlan> MakeLocalPlan(std::span<const SaveEntry> entries,
                                 const StorageWriter& writer,
                                 const SaveOptions& options);

/// A rank's plan, and the storage's notes on it.
struct LocalPlan {
  SavePlan plan;
  std::string notes;
};

/// Which part of `shard` is `item`: the planner may have given this rank less
/// than it holds.
Box PartOf(const TensorShard& shard, const WriteItem& item);

/// Finds the data of planned items in the entries they came from.
class EntrySource final : public WriteSource {
 public:
  EntrySource(std::span<const SaveEntry> entries, Transport& transport,
              std::shared_ptr<Trace> trace = nullptr)
      : entries_(entries), transport_(transport), trace_(std::move(trace)) {}

  StatusOr<WritePayload> Resolve(const WriteItem& item) override;
  Status Proceed() override { return transport_.Check(); }
  std::shared_ptr<Trace> trace() const override { return trace_; }

 private:
  std::span<const SaveEntry> entries_;
  Transport& transport_;
  const std::shared_ptr<Trace> trace_;
};

}  // namespace dcp

#endif  // DCP_CHECKPOINT_SAVE_PLANNING_H_
