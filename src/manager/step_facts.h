// What a manager finds out about steps.

#ifndef DCP_MANAGER_STEP_FACTS_H_
#define DCP_MANAGER_STEP_FACTS_H_

#include <set>
#include <string>

#include "dcp/manager.h"

namespace dcp {

/// Whether a step's directory has the mark of CheckpointManager::Pin. Where
/// nobody can tell, it has.
bool IsPinned(FileSystem& file_system, const std::string& path);

/// Looks at steps. One thread at a time.
class StepExaminer {
 public:
  /// What it is given must outlive it. All of `environment` is set.
  StepExaminer(const ManagerOptions& options,
               const StorageEnvironment& environment)
      : options_(options), environment_(environment) {}

  /// The facts of one step, which can be loaded if it passes `check`. Bytes
  /// that passed kVerified are not read again.
  StepFacts Examine(const StepDirectory& directory, StepCheck check);

 private:
  const ManagerOptions& options_;
  const StorageEnvironment& environment_;
  std::set<std::string> verified_;  ///< path and save id
};

}  // namespace dcp

#endif  // DCP_MANAGER_STEP_FACTS_H_
