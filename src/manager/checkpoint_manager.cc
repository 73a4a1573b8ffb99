#include <algorithm>
#include <utility>
#include <variant>

#include "base/guarded.h"
#include "base/mutex.h"
#include "dcp/manager.h"
#include "manager/removal.h"
#include "manager/step_facts.h"
#include "storage/environment.h"

namespace dcp {
namespace {

// torchtitan components/checkpointer/dcp.py, load().
Status RequireInitial(FileSystem& file_system,
                      const InitialCheckpoint& initial) {
  if (file_system.List(initial.path).ok()) return absl::OkStatus();
  if (initial.origin == InitialOrigin::kInitialLoadPath) {
    return InvalidArgument("Checkpoint.initial_load_path is invalid: " +
                           initial.path);
  }
  return InvalidArgument(
      "model.hf_assets_path is being used to load HF weights but the path is "
      "not valid. Either make sure hf_assets_path is correct or provide a "
      "valid checkpoint.initial_load_path: " +
      initial.path);
}

}  // namespace

class CheckpointManager::State {
 public:
  State(ManagerOptions options, StorageEnvironment environment)
      : options_(std::move(options)),
        environment_(std::move(environment)),
        for_retention_(options_, environment_) {}

  const ManagerOptions& options() const { return options_; }

  StatusOr<RunFolder> Survey() const {
    StepExaminer examiner(options_, environment_);
    DCP_ASSIGN_OR_RETURN(const auto steps, ListSteps(fs(), options_.folder));
    DCP_ASSIGN_OR_RETURN(RunFolder folder, EmptyFolder());
    for (const StepDirectory& step : steps) {
      folder.steps.push_back(examiner.Examine(step, StepCheck::kCommitted));
    }
    return folder;
  }

  StatusOr<LoadDecision> FindLoad(const LoadRules& rules) const {
    DCP_ASSIGN_OR_RETURN(const RunFolder folder, FactsForLoad(rules));
    DCP_ASSIGN_OR_RETURN(LoadDecision decision, DecideLoad(folder, rules));
    if (const auto* initial =
            std::get_if<InitialCheckpoint>(&decision.source)) {
      DCP_RETURN_IF_ERROR(RequireInitial(fs(), *initial));
    }
    return decision;
  }

  Status BeginSave(int64_t step) {
    const MutexLock lock(mutex_);
    if (saving_.insert(step).second) return absl::OkStatus();
    return FailedPrecondition("step " + std::to_string(step) +
                              " is being saved already");
  }

  void EndSave(int64_t step, const Status& saved) {
    const MutexLock lock(mutex_);
    saving_.erase(step);
    if (!saved.ok()) return;
    std::erase(saved_, step);
    saved_.push_back(step);
    if (std::ssize(saved_) > options_.keep_latest_k) {
      saved_.erase(saved_.begin());
    }
  }

  enum class Mark : uint8_t { kSet, kRemove };
  Status SetPin(int64_t step, Mark wanted);

  StatusOr<RetentionDecision> PlanRetention() {
    const MutexLock lock(retention_mutex_);
    return FindOldSteps();
  }

  StatusOr<RetentionReport> ApplyRetention();

 private:
  FileSystem& fs() const { return *environment_.file_system; }

  StatusOr<RunFolder> EmptyFolder() const {
    DCP_ASSIGN_OR_RETURN(const bool exists, fs().Exists(options_.folder));
    return RunFolder{.path = options_.folder, .exists = exists};
  }

  StatusOr<RunFolder> FactsForLoad(const LoadRules& rules) const;
  StatusOr<RetentionDecision> FindOldSteps()
      ABSL_EXCLUSIVE_LOCKS_REQUIRED(retention_mutex_);
  StatusOr<std::string> TakeAway(const StepDirectory& step);

  const ManagerOptions options_;
  const StorageEnvironment environment_;

  Mutex mutex_;  // held only while a step begins, ends or loses its name
  std::set<int64_t> saving_ ABSL_GUARDED_BY(mutex_);
  /// Of this run, the last ones, as many as are kept; the newest is last.
  std::vector<int64_t> saved_ ABSL_GUARDED_BY(mutex_);

  Mutex retention_mutex_;  // taken before mutex_
  StepExaminer for_retention_ ABSL_GUARDED_BY(retention_mutex_);
};

StatusOr<RunFolder> CheckpointManager::State::FactsForLoad(
    const LoadRules& rules) const {
  StepExaminer examiner(options_, environment_);
  DCP_ASSIGN_OR_RETURN(const auto steps, ListSteps(fs(), options_.folder));
  DCP_ASSIGN_OR_RETURN(RunFolder folder, EmptyFolder());
  const bool takes_newest = rules.load_step == kNewestStep;
  for (const StepDirectory& step : steps) {
    if (!takes_newest && step.step != rules.load_step) continue;
    folder.steps.push_back(examiner.Examine(step, StepCheck::kCommitted));
    const StepFacts& facts = folder.steps.back();
    const bool is_full = facts.extent == StepExtent::kFull && step.step > 0;
    if (takes_newest && facts.fault.ok() && is_full) break;
  }
  return folder;
}

Status CheckpointManager::State::SetPin(int64_t step, Mark wanted) {
  const MutexLock lock(mutex_);  // so that it is not removed meanwhile
  DCP_ASSIGN_OR_RETURN(const auto steps, ListSteps(fs(), options_.folder));
  bool is_there = false;
  for (const StepDirectory& directory : steps) {
    if (directory.step != step) continue;
    is_there = true;
    const std::string mark = JoinPath(directory.path, kPinFileName);
    DCP_ASSIGN_OR_RETURN(const bool was_pinned, fs().Exists(mark));
    if (was_pinned == (wanted == Mark::kSet)) continue;
    DCP_RETURN_IF_ERROR(wanted == Mark::kSet
                            ? WriteFile(fs(), mark, "", SyncMode::kSync)
                            : fs().Remove(mark));
    DCP_RETURN_IF_ERROR(fs().SyncDirectory(directory.path));
  }
  if (is_there) return absl::OkStatus();
  return NotFound("there is no step " + std::to_string(step) + " in " +
                  options_.folder);
}

StatusOr<RetentionDecision> CheckpointManager::State::FindOldSteps() {
  RetentionRules rules{.keep_latest_k = options_.keep_latest_k};
  {
    const MutexLock lock(mutex_);
    rules.saving = saving_;
    rules.saved.insert(saved_.begin(), saved_.end());
  }
  DCP_ASSIGN_OR_RETURN(const auto steps, ListSteps(fs(), options_.folder));
  std::vector<StepFacts> facts;
  for (const StepDirectory& step : steps) {
    if (step.is_link || IsEnoughForRetention(facts, rules)) {
      facts.push_back({.directory = step,
                       .fault = Internal("it was not looked at"),
                       .is_pinned = IsPinned(fs(), step.path)});
    } else {
      facts.push_back(for_retention_.Examine(step, options_.retention_check));
    }
  }
  return DecideRetention(facts, rules);
}

StatusOr<std::string> CheckpointManager::State::TakeAway(
    const StepDirectory& step) {
  const MutexLock lock(mutex_);
  // Since the decision it may have become one of these.
  if (saving_.contains(step.step)) {
    return MakeStatus(absl::StatusCode::kAborted, "it is being saved");
  }
  if (std::find(saved_.begin(), saved_.end(), step.step) != saved_.end() ||
      IsPinned(fs(), step.path)) {
    return MakeStatus(absl::StatusCode::kAborted,
                      "it was saved or pinned meanwhile");
  }
  return TakeStepAway(environment_, step.path);
}

StatusOr<RetentionReport> CheckpointManager::State::ApplyRetention() {
  const MutexLock lock(retention_mutex_);
  RetentionReport report;
  DCP_ASSIGN_OR_RETURN(const auto leftovers,
                       FindRemovals(fs(), options_.folder));
  for (const std::string& path : leftovers) {
    const Status status = RemoveTree(fs(), path);
    if (!status.ok()) {
      report.not_removed.push_back({path, std::string(Message(status))});
    }
  }
  DCP_ASSIGN_OR_RETURN(RetentionDecision decision, FindOldSteps());
  report.kept = std::move(decision.kept);
  for (const StepDirectory& step : decision.removed) {
    const StatusOr<std::string> removal = TakeAway(step);
    const Status status =
        removal.ok() ? RemoveTree(fs(), *removal) : removal.status();
    if (status.ok()) {
      report.removed.push_back(step);
    } else {
      report.not_removed.push_back(
          {removal.ok() ? *removal : step.path, std::string(Message(status))});
    }
  }
  return report;
}

StatusOr<std::unique_ptr<CheckpointManager>> CheckpointManager::Make(
    ManagerOptions options, StorageEnvironment environment) {
  return Guarded([&]() -> StatusOr<std::unique_ptr<CheckpointManager>> {
    DCP_RETURN_IF_ERROR(CheckManagerOptions(options));
    environment = WithDefaults(std::move(environment));
    options.folder = environment.file_system->Absolute(options.folder);
    return std::unique_ptr<CheckpointManager>(new CheckpointManager(
        std::make_unique<State>(std::move(options), std::move(environment))));
  });
}

CheckpointManager::CheckpointManager(std::unique_ptr<State> state)
    : state_(std::move(state)) {}
CheckpointManager::~CheckpointManager() = default;

const ManagerOptions& CheckpointManager::options() const {
  return state_->options();
}

std::string CheckpointManager::StepPath(int64_t step) const {
  return JoinPath(options().folder, "step-" + std::to_string(step));
}

StatusOr<RunFolder> CheckpointManager::Survey() const {
  return Guarded([&] { return state_->Survey(); });
}

StatusOr<LoadDecision> CheckpointManager::FindLoad(
    const LoadRules& rules) const {
  return Guarded([&] { return state_->FindLoad(rules); });
}

std::optional<StepExtent> CheckpointManager::WhatToSave(int64_t step,
                                                        StepPlace place) const {
  return DecideSave(options().save, step, place);
}

Status CheckpointManager::BeginSave(int64_t step) {
  return Guarded([&] { return state_->BeginSave(step); });
}

void CheckpointManager::EndSave(int64_t step, const Status& saved) {
  state_->EndSave(step, saved);
}

Status CheckpointManager::Pin(int64_t step) {
  return Guarded([&] { return state_->SetPin(step, State::Mark::kSet); });
}

Status CheckpointManager::Unpin(int64_t step) {
  return Guarded([&] { return state_->SetPin(step, State::Mark::kRemove); });
}

StatusOr<RetentionDecision> CheckpointManager::PlanRetention() {
  return Guarded([&] { return state_->PlanRetention(); });
}

StatusOr<RetentionReport> CheckpointManager::ApplyRetention() {
  return Guarded([&] { return state_->ApplyRetention(); });
}

}  // namespace dcp
