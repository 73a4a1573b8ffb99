// SaveCoordinator: who writes what, and the checkpoint that comes of it.

#ifndef DCP_CHECKPOINT_SAVE_COORDINATOR_H_
#define DCP_CHECKPOINT_SAVE_COORDINATOR_H_

#include <span>
#include <string>
#include <vector>

#include "checkpoint/save_planning.h"
#include "dcp/checkpoint.h"

namespace dcp {

/// The coordinator's part in one save; without collectives, every rank's in its
/// own.
class SaveCoordinator {
 public:
  SaveCoordinator(StorageWriter& writer, const SaveOptions& options)
      : writer_(writer), options_(options) {}

  /// From the ranks' proposals to the answers (save_planning.h).
  StatusOr<std::vector<std::string>> Plan(std::vector<std::string> proposals);
  /// The same for one rank.
  StatusOr<LocalPlan> PlanAlone(const LocalPlan& local);

  /// The commit, once every rank's outcome is there: it must be what was
  /// planned. Returns the metadata as published.
  StatusOr<std::string> Publish(std::vector<std::string> outcomes);

 private:
  /// What each rank is to know of the global plan.
  struct Decision {
    std::vector<PlanShare> shares;
    std::vector<std::string> notes;
  };

  /// Fills metadata_ and plans_. Frees the ranks' messages.
  StatusOr<Decision> Decide(std::span<std::string> messages,
                            std::span<const std::string> notes);

  StorageWriter& writer_;
  const SaveOptions& options_;
  Metadata metadata_;
  std::vector<SavePlan> plans_;
};

}  // namespace dcp

#endif  // DCP_CHECKPOINT_SAVE_COORDINATOR_H_
