// SaveCoordinator: who writes what, and the checkpoint that comes of it.

#ifndef DCP_CHECKPOINT_SAVE_COORDINATOR_H_
#define DCP_CHECKPOINT_SAVE_COORDINATOR_H_

#include <span>
#include <string>
#include <vector>

#include "checkpoint/plan_keeper.h"
#include "checkpoint/planned_items.h"
#include "checkpoint/save_planning.h"
#include "dcp/checkpoint.h"

namespace dcp {

/// The coordinator's part in one save; without collectives, every rank's in its
/// own.
class SaveCoordinator final : public PlanKeeper {
 public:
  SaveCoordinator(StorageWriter& writer, const SaveOptions& options)
      : writer_(writer), options_(options) {}

  StatusOr<Decision> Plan(std::span<std::string> messages,
                          std::span<const std::string> notes) override;
  /// The same for one rank.
  StatusOr<LocalPlan> PlanAlone(LocalPlan local);
  StatusOr<std::vector<std::string>> Adopt(
      const AgreedPlan& agreed, std::span<const std::string> notes) override;

  /// The commit, once every rank's outcome is there: it must be what was
  /// planned. Returns the metadata as published.
  StatusOr<std::string> Publish(std::vector<std::string> outcomes);

 private:
  /// Has the storage look at the plan and keeps it for the commit; the
  /// storage's notes for each rank.
  StatusOr<std::vector<std::string>> Prepare(
      GlobalPlan global, std::span<const std::string> notes);

  StorageWriter& writer_;
  const SaveOptions& options_;
  Metadata metadata_;
  PlannedItems planned_;
};

}  // namespace dcp

#endif  // DCP_CHECKPOINT_SAVE_COORDINATOR_H_
