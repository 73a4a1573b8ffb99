// The rest of indexed metadata: what is not about one entry.

#ifndef DCP_FORMAT_INDEXED_REST_H_
#define DCP_FORMAT_INDEXED_REST_H_

#include <span>
#include <string>
#include <string_view>

#include "dcp/metadata.h"
#include "dcp/status.h"
#include "format/metadata_limits.h"
#include "format/place_table.h"

namespace dcp {

/// planner_data, storage_meta and version of `metadata`, and `strays`. Equal
/// ones have equal bytes.
std::string SerializeRest(const Metadata& metadata,
                          std::span<const PlaceTable::Stray> strays);

/// Sets what SerializeRest wrote in `metadata`, strays as its storage_data.
/// \error kDataLoss  it is not that, or asks for more memory than `budget` has
///     left, or for more time than keys that a table holds apart
Status ParseRest(std::string_view data, CopyBudget budget, Metadata* metadata);

}  // namespace dcp

#endif  // DCP_FORMAT_INDEXED_REST_H_
