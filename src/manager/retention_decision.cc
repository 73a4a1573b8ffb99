#include <optional>

#include "dcp/step_decisions.h"

namespace dcp {
namespace {

/// Goes through steps from the newest on, until none that follows can matter.
class Kept {
 public:
  explicit Kept(const RetentionRules& rules) : rules_(rules) {}

  /// Why the next older step is kept for what it holds; nullopt: it is not.
  std::optional<KeepReason> ReasonFor(const StepFacts& step) {
    if (step.directory.is_link) return KeepReason::kLinked;
    if (rules_.keep_latest_k == 0) return KeepReason::kNewest;
    if (is_complete()) return std::nullopt;
    const bool is_young = loadable_ < rules_.keep_latest_k;
    if (rules_.saving.contains(step.directory.step)) return KeepReason::kInUse;
    if (!step.fault.ok()) {
      if (is_young || !has_full_) return KeepReason::kUnreadable;
      return std::nullopt;
    }
    const bool is_full = step.extent == StepExtent::kFull;
    const bool is_newest_full = is_full && !has_full_;
    ++loadable_;
    has_full_ |= is_full;
    if (is_young) return KeepReason::kNewest;
    if (is_newest_full) return KeepReason::kNewestFull;
    return std::nullopt;
  }

  bool is_complete() const {
    return loadable_ >= rules_.keep_latest_k && has_full_;
  }

 private:
  const RetentionRules& rules_;
  int64_t loadable_ = 0;
  bool has_full_ = false;
};

/// Why `step` is kept whatever it holds.
std::optional<KeepReason> ReasonAnyway(const StepFacts& step,
                                       const RetentionRules& rules) {
  const int64_t number = step.directory.step;
  if (rules.saving.contains(number) || rules.saved.contains(number)) {
    return KeepReason::kInUse;
  }
  if (step.is_pinned) return KeepReason::kPinned;
  return std::nullopt;
}

}  // namespace

std::string_view KeepReasonName(KeepReason reason) {
  switch (reason) {
    case KeepReason::kNewest:
      return "newest";
    case KeepReason::kNewestFull:
      return "newest full";
    case KeepReason::kUnreadable:
      return "unreadable";
    case KeepReason::kPinned:
      return "pinned";
    case KeepReason::kLinked:
      return "linked";
    case KeepReason::kInUse:
      break;
  }
  return "in use";
}

bool IsEnoughForRetention(std::span<const StepFacts> newest_first,
                          const RetentionRules& rules) {
  if (rules.keep_latest_k == 0) return true;
  Kept kept(rules);
  for (const StepFacts& step : newest_first) kept.ReasonFor(step);
  return kept.is_complete();
}

RetentionDecision DecideRetention(std::span<const StepFacts> newest_first,
                                  const RetentionRules& rules) {
  RetentionDecision decision;
  Kept kept(rules);
  for (const StepFacts& step : newest_first) {
    std::optional<KeepReason> reason = kept.ReasonFor(step);
    if (!reason) reason = ReasonAnyway(step, rules);
    if (reason) {
      decision.kept.push_back({step.directory, *reason});
    } else {
      decision.removed.push_back(step.directory);
    }
  }
  return decision;
}

}  // namespace dcp
