#include <algorithm>
#include <utility>

#include "dcp/step_decisions.h"

namespace dcp {
namespace {

/// How many faults an error lists.
constexpr size_t kFaultsListed = 3;

/// The option, as torchtitan's texts name it.
std::string LoadStepIs(int64_t step) {
  return "--checkpoint.load_step=" + std::to_string(step);
}

std::string Reason(const StepFacts& step) {
  return step.directory.path + ": " + std::string(Message(step.fault));
}

/// Whether a run can go on from it with all its states. Step 0 is where a run
/// begins, whatever it holds.
bool IsFull(const StepFacts& step) {
  return step.extent == StepExtent::kFull && step.directory.step > 0;
}

std::string Lost(const StepFacts& step) {
  return step.directory.path +
         " holds the model only: the optimizer and the other states are lost "
         "and begin anew";
}

StatusOr<LoadDecision> LoadThis(const StepFacts& step, const LoadRules& rules) {
  LoadDecision decision{
      .source = StepToLoad{
          .directory = step.directory,
          .format = step.format,
          .extent = IsFull(step) ? StepExtent::kFull : StepExtent::kModelOnly}};
  if (IsFull(step) || step.directory.step == 0) return decision;
  if (rules.require_full_resume) {
    return FailedPrecondition(
        "require_full_resume is set, and " + Lost(step) +
        "; name a full step by load_step, or unset require_full_resume to go "
        "on with the model alone");
  }
  decision.warnings.push_back(Lost(step));
  return decision;
}

StatusOr<LoadDecision> LoadNamed(const RunFolder& folder,
                                 const LoadRules& rules) {
  const std::string option = LoadStepIs(rules.load_step);
  if (!folder.exists) {
    return NotFound(option + " not found because checkpoint.folder " +
                    folder.path + " does not exist");
  }
  const StepFacts* found = nullptr;
  for (const StepFacts& step : folder.steps) {
    if (step.directory.step != rules.load_step) continue;
    if (found == nullptr || (!found->fault.ok() && step.fault.ok())) {
      found = &step;
    }
  }
  if (found == nullptr) {
    return NotFound(
        option + " not found at " +
        JoinPath(folder.path, "step-" + std::to_string(rules.load_step)));
  }
  if (!found->fault.ok()) {
    return Annotate(found->fault,
                    option + " cannot be loaded from " + found->directory.path);
  }
  return LoadThis(*found, rules);
}

Status NoneLoads(const RunFolder& folder) {
  std::string message = "none of the " + std::to_string(folder.steps.size()) +
                        " steps in " + folder.path + " can be loaded: ";
  for (size_t i = 0; i < std::min(folder.steps.size(), kFaultsListed); ++i) {
    if (i > 0) message += "; ";
    message += Reason(folder.steps[i]);
  }
  if (folder.steps.size() > kFaultsListed) message += "; ...";
  return FailedPrecondition(
      message +
      ". Move or remove these directories to begin anew, or name a "
      "checkpoint elsewhere by another folder");
}

StatusOr<LoadDecision> LoadNewest(const RunFolder& folder,
                                  const LoadRules& rules) {
  const auto& steps = folder.steps;
  const auto loads = [](const StepFacts& step) { return step.fault.ok(); };
  const auto newest = std::find_if(steps.begin(), steps.end(), loads);
  if (newest == steps.end()) return NoneLoads(folder);
  const auto full = std::find_if(
      newest, steps.end(),
      [&](const StepFacts& step) { return loads(step) && IsFull(step); });
  const auto chosen = full == steps.end() ? newest : full;
  DCP_ASSIGN_OR_RETURN(LoadDecision decision, LoadThis(*chosen, rules));
  std::vector<std::string> passed_over;
  for (auto step = steps.begin(); step != chosen; ++step) {
    passed_over.push_back(loads(*step)
                              ? step->directory.path +
                                    " holds the model only; the newest full "
                                    "checkpoint is " +
                                    chosen->directory.path
                              : "skipped " + Reason(*step));
  }
  decision.warnings.insert(decision.warnings.begin(), passed_over.begin(),
                           passed_over.end());
  return decision;
}

}  // namespace

StatusOr<LoadDecision> DecideLoad(const RunFolder& folder,
                                  const LoadRules& rules) {
  if (rules.load_step < kNewestStep) {
    return InvalidArgument(
        "checkpoint.load_step is a step, or -1 for the "
        "newest one, not " +
        std::to_string(rules.load_step));
  }
  if (rules.load_step != kNewestStep) return LoadNamed(folder, rules);
  if (!folder.steps.empty()) return LoadNewest(folder, rules);
  if (rules.initial) return LoadDecision{.source = *rules.initial};
  return LoadDecision{.source = FreshStart{}};
}

}  // namespace dcp
