// MappingPlanner: what a mapping makes of the keys of a checkpoint.

#ifndef DCP_MAPPING_MAPPING_PLANNER_H_
#define DCP_MAPPING_MAPPING_PLANNER_H_

#include <span>
#include <vector>

#include "dcp/mapping.h"
#include "dcp/status.h"
#include "mapping/mapping_table.h"

namespace dcp {

/// See Mapping::Plan.
StatusOr<std::vector<MappedTensor>> PlanMapping(
    const MappingTable& table, std::span<const MappingSource> sources,
    const MappingOptions& options);

}  // namespace dcp

#endif  // DCP_MAPPING_MAPPING_PLANNER_H_
