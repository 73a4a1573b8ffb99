// Disturb: what becomes of a save in which something fails.

#ifndef DCP_SIMULATE_SAVE_FAILURE_H_
#define DCP_SIMULATE_SAVE_FAILURE_H_

#include <optional>
#include <vector>

#include "dcp/simulate_save.h"
#include "simulate/save_timeline.h"

namespace dcp {

struct DisturbedSave {
  /// What living ranks did not come to, they left when they ended.
  SaveTimeline timeline;
  std::vector<bool> is_gone;  ///< by rank
  SaveEnd end = SaveEnd::kSaved;
  std::optional<SaveLoss> loss;
};

/// `options` have a failure. `conditions` are those of `timeline`, in which
/// nothing failed.
DisturbedSave Disturb(const SaveWork& work,
                      const SaveSimulationOptions& options,
                      const WriteConditions& conditions,
                      const SaveTimeline& timeline);

}  // namespace dcp

#endif  // DCP_SIMULATE_SAVE_FAILURE_H_
