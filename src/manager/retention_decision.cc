#include <algorithm>

#include "dcp/step_decisions.h"

namespace dcp {
namespace {

/// Goes through steps from the newest on, until none that follows can matter.
class Kept {
 public:
  explicit Kept(const RetentionRules& rules) : rules_(rules) {}

  /// Whether the next older step is kept for what it holds.
  bool Keeps(const StepFacts& step) {
    if (is_complete()) return false;
    const bool is_young = loadable_ < rules_.keep_latest_k;
    if (rules_.saving.contains(step.directory.step)) return true;
    if (!step.fault.ok()) return is_young || !has_full_;
    const bool is_full = step.extent == StepExtent::kFull;
    const bool is_newest_full = is_full && !has_full_;
    ++loadable_;
    has_full_ |= is_full;
    return is_young || is_newest_full;
  }

  bool is_complete() const {
    return loadable_ >= rules_.keep_latest_k && has_full_;
  }

 private:
  const RetentionRules& rules_;
  int64_t loadable_ = 0;
  bool has_full_ = false;
};

}  // namespace

bool IsEnoughForRetention(std::span<const StepFacts> newest_first,
                          const RetentionRules& rules) {
  if (rules.keep_latest_k == 0) return true;
  Kept kept(rules);
  for (const StepFacts& step : newest_first) kept.Keeps(step);
  return kept.is_complete();
}

std::vector<StepDirectory> DecideRetention(
    std::span<const StepFacts> newest_first, const RetentionRules& rules) {
  std::vector<StepDirectory> removed;
  if (rules.keep_latest_k == 0) return removed;
  Kept kept(rules);
  for (const StepFacts& step : newest_first) {
    const int64_t number = step.directory.step;
    const bool is_in_use =
        rules.saving.contains(number) || rules.saved.contains(number);
    if (!kept.Keeps(step) && !is_in_use && !step.is_pinned) {
      removed.push_back(step.directory);
    }
  }
  return removed;
}

}  // namespace dcp
