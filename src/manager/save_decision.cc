#include "dcp/manager.h"
#include "dcp/step_decisions.h"

namespace dcp {

// The texts are torchtitan's, components/checkpointer/base.py Config.
Status CheckManagerOptions(const ManagerOptions& options) {
  if (options.folder.find_first_not_of(" \t\n\r\f\v") == std::string::npos) {
    return InvalidArgument("The 'folder' field cannot be empty.");
  }
  if (options.save.interval < 1) {
    return InvalidArgument("Checkpoint interval needs to be at least 1 step.");
  }
  if (options.keep_latest_k < 0) {
    return InvalidArgument("keep_latest_k cannot be negative.");
  }
  if (options.keep_latest_k == 1) {
    return InvalidArgument(
        "We need to maintain at least 2 checkpoint replicas, as the last one "
        "may be in the process of being saved.");
  }
  return absl::OkStatus();
}

std::optional<StepExtent> DecideSave(const SaveRules& rules, int64_t step,
                                     StepPlace place) {
  if (rules.load_only) return std::nullopt;
  if (place == StepPlace::kLast) {
    return rules.last_save_model_only ? StepExtent::kModelOnly
                                      : StepExtent::kFull;
  }
  const bool is_first = rules.enable_first_step_checkpoint && step == 1;
  if (is_first || step % rules.interval == 0) return StepExtent::kFull;
  return std::nullopt;
}

}  // namespace dcp
