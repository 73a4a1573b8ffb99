// CheckpointManager: the checkpoints of a training run, a folder of steps.
//
//   auto manager = dcp::CheckpointManager::Make({.folder = "/run/checkpoint"});
//   dcp::StatusOr<dcp::LoadDecision> start = (*manager)->FindLoad({});
//   ... load what it names, train ...
//   if ((*manager)->WhatToSave(step, dcp::StepPlace::kInside)) {
//     DCP_RETURN_IF_ERROR((*manager)->BeginSave(step));
//     const auto saved = dcp::Save((*manager)->StepPath(step), state);
//     (*manager)->EndSave(step, saved.status());
//     (*manager)->ApplyRetention();
//   }
//
// A step is the directory `<folder>/step-<N>`. Of several ranks one has the
// manager and tells the others what it decided.

#ifndef DCP_MANAGER_H_
#define DCP_MANAGER_H_

#include <cstdint>
#include <memory>
#include <optional>
#include <string>
#include <vector>

#include "dcp/filesystem_storage.h"
#include "dcp/latest.h"
#include "dcp/status.h"
#include "dcp/step_decisions.h"

namespace dcp {

struct ManagerOptions {
  /// The folder of the steps; need not exist.
  std::string folder;
  SaveRules save;
  /// How many steps ApplyRetention keeps; 0: all.
  int64_t keep_latest_k = 10;
  /// The keys beside the model's. A checkpoint with any of them, or with keys
  /// below one ("optimizer.state..."), is a full one. None: all are full.
  std::vector<std::string> state_keys = {"optimizer", "lr_scheduler",
                                         "dataloader", "train_state"};
  /// What a step must pass to count as one of keep_latest_k. With kVerified all
  /// of its bytes are read, once in the life of the manager; safetensors that
  /// others wrote never pass that, since they have no checksums.
  StepCheck retention_check = StepCheck::kCommitted;
  IoOptions io;
};

/// \error kInvalidArgument  in the words of TorchTitan, e.g. "keep_latest_k
///     cannot be negative."
Status CheckManagerOptions(const ManagerOptions& options);

/// The file in a step's directory that pins it. Its content does not matter.
inline constexpr char kPinFileName[] = ".dcpcpp.pin";

/// A directory that was to go, and that is still there.
struct NotRemoved {
  std::string path;
  std::string reason;
};

/// What ApplyRetention did.
struct RetentionReport {
  std::vector<StepDirectory> removed;
  /// Steps, e.g. because somebody saves into them, and what is left of some.
  std::vector<NotRemoved> not_removed;
  std::vector<KeptStep> kept;  ///< newest first
};

/// Thread-safe: retention may run beside saves.
class CheckpointManager {
 public:
  /// \error kInvalidArgument  see CheckManagerOptions
  static StatusOr<std::unique_ptr<CheckpointManager>> Make(
      ManagerOptions options, StorageEnvironment environment = {});
  ~CheckpointManager();

  CheckpointManager(const CheckpointManager&) = delete;
  CheckpointManager& operator=(const CheckpointManager&) = delete;

  const ManagerOptions& options() const;

  /// Where `step` is saved: `<folder>/step-<step>`.
  std::string StepPath(int64_t step) const;

  /// All steps, each looked at as by FindLatest with kCommitted.
  /// \error only if the folder cannot be listed
  StatusOr<RunFolder> Survey() const;

  /// See DecideLoad. Looks only at as many steps as that takes.
  /// \error kInvalidArgument  also if the path of rules.initial is to be used
  ///     and is no directory
  StatusOr<LoadDecision> FindLoad(const LoadRules& rules) const;

  /// See DecideSave.
  std::optional<StepExtent> WhatToSave(int64_t step, StepPlace place) const;

  /// From here to EndSave the step is not removed. If it is being removed, this
  /// waits until its name is free.
  /// \error kFailedPrecondition  this step is being saved already
  Status BeginSave(int64_t step);
  /// `saved` is how the save ended.
  void EndSave(int64_t step, const Status& saved);

  /// Keeps a step for good, or no longer. The mark is a file in its directory,
  /// so that it outlives the run, and people may set it.
  /// \error kNotFound  there is no such step
  Status Pin(int64_t step);
  Status Unpin(int64_t step);

  /// What ApplyRetention would do now.
  StatusOr<RetentionDecision> PlanRetention();
  /// Removes steps by DecideRetention, and what removals left that were killed.
  ///
  /// A process that is killed in this leaves each step whole or gone:
  /// src/manager/removal.cc says how. A step that somebody saves into stays.
  /// \error only if the folder cannot be listed; what cannot be removed is told
  ///     by the report
  StatusOr<RetentionReport> ApplyRetention();

 private:
  class State;
  explicit CheckpointManager(std::unique_ptr<State> state);

  const std::unique_ptr<State> state_;
};

}  // namespace dcp

#endif  // DCP_MANAGER_H_
