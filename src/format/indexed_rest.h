// The rest of indexed metadata: what is not about one entry.

#ifndef DCP_FORMAT_INDEXED_REST_H_
#define DCP_FORMAT_INDEXED_REST_H_

#include <string>
#include <string_view>

#include "dcp/metadata.h"
#include "dcp/status.h"

namespace dcp {

/// planner_data, storage_meta, version and storage_data of `metadata`. Equal
/// ones have equal bytes.
std::string SerializeRest(const Metadata& metadata);

/// Sets what SerializeRest wrote in `metadata`.
/// \error kDataLoss  it is not that
Status ParseRest(std::string_view data, Metadata* metadata);

}  // namespace dcp

#endif  // DCP_FORMAT_INDEXED_REST_H_
