// SaveCoordinator: who writes what, and the checkpoint that comes of it.

#ifndef DCP_CHECKPOINT_SAVE_COORDINATOR_H_
#define DCP_CHECKPOINT_SAVE_COORDINATOR_H_

#include <span>
#include <string>
#include <vector>

#include "checkpoint/derived_plan.h"
#include "checkpoint/planned_items.h"
#include "checkpoint/save_planning.h"
#include "dcp/checkpoint.h"
#include "plan/plan_share.h"

namespace dcp {

/// The coordinator's part in one save; without collectives, every rank's in its
/// own.
class SaveCoordinator {
 public:
  SaveCoordinator(StorageWriter& writer, const SaveOptions& options)
      : writer_(writer), options_(options) {}

  /// What each rank is to know of the global plan.
  struct Decision {
    std::vector<PlanShare> shares;
    std::vector<std::string> notes;
  };

  /// Plans from all ranks' plan messages (SerializePlanMessage), which it
  /// frees, and their storages' notes.
  StatusOr<Decision> Plan(std::span<std::string> messages,
                          std::span<const std::string> notes);
  /// The same for one rank.
  StatusOr<LocalPlan> PlanAlone(LocalPlan local);
  /// Takes the plan that all ranks derive; the storage's notes for each.
  StatusOr<std::vector<std::string>> Adopt(const DerivedPlan& derived,
                                           std::span<const std::string> notes);

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
