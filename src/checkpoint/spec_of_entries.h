// From a rank's entries to what they have in common with other ranks'.

#ifndef DCP_CHECKPOINT_SPEC_OF_ENTRIES_H_
#define DCP_CHECKPOINT_SPEC_OF_ENTRIES_H_

#include <cstdint>
#include <optional>
#include <span>
#include <string>

#include "dcp/checkpoint.h"
#include "plan/state_spec.h"

namespace dcp {

/// The spec of `entries`, of which `rank` has made the local plan `plan`; its
/// entries are those of the plan. nullopt if there is none: some entry is a
/// shard whose layout is not told, or stored encoded, or its sizes are
/// impossible (which planning from all ranks' plans reports).
/// \error kInvalidArgument  a layout is not that of `rank`, or is of another
///     chunk than the entry; names the key
StatusOr<std::optional<StateSpec>> SpecOfEntries(
    std::span<const SaveEntry> entries, const SavePlan& plan, uint32_t rank);

/// Checks that `shard` is `chunk`, which follows from its layout.
/// \error kInvalidArgument  names the key, the layout's rank and both boxes
Status CheckIsChunk(const std::string& fqn, const TensorShard& shard,
                    const Box& chunk);

}  // namespace dcp

#endif  // DCP_CHECKPOINT_SPEC_OF_ENTRIES_H_
