// What is saved, loaded and removed in a training run's folder of steps: plain
// functions over facts. CheckpointManager (manager.h) finds the facts and
// carries the decisions out.

#ifndef DCP_STEP_DECISIONS_H_
#define DCP_STEP_DECISIONS_H_

#include <cstdint>
#include <optional>
#include <set>
#include <span>
#include <string>
#include <string_view>
#include <variant>
#include <vector>

#include "dcp/checkpoint_format.h"
#include "dcp/latest.h"
#include "dcp/status.h"

namespace dcp {

/// What a checkpoint holds, or what of it is saved or loaded.
enum class StepExtent : uint8_t {
  kFull,       ///< the model and all that a run needs to go on
  kModelOnly,  ///< the model alone
};

/// What is known of a step's directory.
struct StepFacts {
  StepDirectory directory;
  CheckpointFormat format = CheckpointFormat::kDcp;
  StepExtent extent = StepExtent::kFull;
  /// OK if it can be loaded; else why not, and format and extent mean nothing.
  Status fault;
  /// Whether it is never removed (CheckpointManager::Pin).
  bool is_pinned = false;
};

/// What is known of a run's folder.
struct RunFolder {
  std::string path;
  bool exists = true;
  std::vector<StepFacts> steps;  ///< newest first
};

// Saving.

enum class StepPlace : uint8_t { kInside, kLast };

/// When a run saves. The names are TorchTitan's.
struct SaveRules {
  int64_t interval = 500;  ///< in steps, from 1
  bool enable_first_step_checkpoint = false;
  bool last_save_model_only = true;
  bool load_only = false;  ///< nothing is saved
};

/// What is to be saved after `step`; nullopt: nothing. The last step is saved
/// whatever its number.
std::optional<StepExtent> DecideSave(const SaveRules& rules, int64_t step,
                                     StepPlace place);

// Loading.

/// LoadRules::load_step: the newest one that can be loaded.
inline constexpr int64_t kNewestStep = -1;

/// Who named a checkpoint from which a run without steps starts.
enum class InitialOrigin : uint8_t { kInitialLoadPath, kHfAssetsPath };

/// A checkpoint from which a run without steps starts.
struct InitialCheckpoint {
  std::string path;
  CheckpointFormat format = CheckpointFormat::kDcp;
  StepExtent extent = StepExtent::kModelOnly;  ///< what of it is loaded
  InitialOrigin origin = InitialOrigin::kInitialLoadPath;
};

struct LoadRules {
  int64_t load_step = kNewestStep;
  /// Used only where the run has no step directory, so that a run that is
  /// started again with the same arguments goes on.
  std::optional<InitialCheckpoint> initial;
  /// Whether it is an error, and not a warning, that the run has steps after
  /// step 0 and none of them is a full one.
  bool require_full_resume = false;
};

/// Nothing is loaded.
struct FreshStart {};

/// A step to load, and what of it.
struct StepToLoad {
  StepDirectory directory;
  CheckpointFormat format = CheckpointFormat::kDcp;
  StepExtent extent = StepExtent::kFull;
};

using LoadSource = std::variant<FreshStart, InitialCheckpoint, StepToLoad>;

struct LoadDecision {
  LoadSource source;
  /// For the log: steps that were passed over, and what is lost.
  std::vector<std::string> warnings;
};

/// What a run loads when it starts.
///
/// 1. rules.load_step names a step: that one, and nothing else.
/// 2. Else the newest full step that can be loaded. Those that cannot be
///    loaded, and newer ones that hold the model only, are passed over with a
///    warning.
/// 3. Without a full one, the model of the newest step that can be loaded,
///    with a warning that the other states are lost.
/// 4. Without any step directory, rules.initial, or else a fresh start.
///
/// Of step 0, a seed checkpoint, the model alone is loaded, which is no loss.
/// \error kNotFound  there is no directory of rules.load_step
/// \error StepFacts::fault of rules.load_step, with its code
/// \error kFailedPrecondition  there are steps and none can be loaded: it takes
///     a person to say that a run may begin anew; or see require_full_resume
/// \error kInvalidArgument  rules.load_step is less than kNewestStep
StatusOr<LoadDecision> DecideLoad(const RunFolder& folder,
                                  const LoadRules& rules);

// Removing.

struct RetentionRules {
  /// 0: nothing is ever removed.
  int64_t keep_latest_k = 10;
  /// Steps that are being saved. They are kept and do not count.
  std::set<int64_t> saving;
  /// The newest steps that this run has saved are kept whatever their numbers:
  /// a run that went back by load_step saves below steps of its past.
  std::set<int64_t> saved;
};

/// Whether facts of older steps than these, newest first, cannot change what
/// DecideRetention says: none of those needs to be examined.
bool IsEnoughForRetention(std::span<const StepFacts> newest_first,
                          const RetentionRules& rules);

/// Why a step is kept.
enum class KeepReason : uint8_t {
  kNewest,      ///< one of the newest that can be loaded, or newer than they
  kNewestFull,  ///< the newest full one
  kUnreadable,  ///< it cannot be loaded now, and may be the only full one
  kPinned,
  kLinked,  ///< a link, to what is not this run's to remove
  kInUse,   ///< of RetentionRules::saving, or of saved
};

/// "newest", "newest full", "unreadable", "pinned", "linked" or "in use".
std::string_view KeepReasonName(KeepReason reason);

struct KeptStep {
  StepDirectory directory;
  KeepReason reason = KeepReason::kNewest;
};

/// What becomes of all steps; newest first.
struct RetentionDecision {
  std::vector<StepDirectory> removed;
  std::vector<KeptStep> kept;
};

/// Removes the steps that are older than the newest keep_latest_k which can be
/// loaded, but
///
/// - never the newest full one that can be loaded, even if more than
///   keep_latest_k that hold the model only are newer,
/// - no pinned one,
/// - none of rules.saving, nor of rules.saved.
///
/// A step that is a link stays and counts for nothing: who has what it leads to
/// may remove that at any time, so no step of this run's own goes because of
/// it.
///
/// What cannot be loaded never counts as one of keep_latest_k. It goes when it
/// is older than they are and than a full one: that it cannot be loaded may
/// pass, and it may be the only full one. So of the checkpoints that can be
/// loaded, links aside, at least min(keep_latest_k, all of them) are left.
RetentionDecision DecideRetention(std::span<const StepFacts> newest_first,
                                  const RetentionRules& rules);

}  // namespace dcp

#endif  // DCP_STEP_DECISIONS_H_
