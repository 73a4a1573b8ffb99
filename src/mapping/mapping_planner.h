// MappingPlanner: what a mapping makes of the keys of a checkpoint.

#ifndef DCP_MAPPING_MAPPING_PLANNER_H_
#define DCP_MAPPING_MAPPING_PLANNER_H_

#include <span>
#include <vector>

#include "dcp/mapping.h"
#include "dcp/status.h"
#include "mapping/mapping_table.h"

namespace dcp {

/// What becomes of the keys.
struct MappingPlan {
  std::vector<MappedTensor> tensors;  ///< see Mapping::Plan
  std::vector<TiedSource> ties;       ///< see Mapping::Ties
};

StatusOr<MappingPlan> PlanMapping(const MappingTable& table,
                                  std::span<const MappingSource> sources,
                                  const MappingOptions& options);

}  // namespace dcp

#endif  // DCP_MAPPING_MAPPING_PLANNER_H_
