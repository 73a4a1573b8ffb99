// What a mapping is told of the entries of a checkpoint.

#ifndef DCP_CHECKPOINT_MAPPING_SOURCE_H_
#define DCP_CHECKPOINT_MAPPING_SOURCE_H_

#include <string>

#include "dcp/mapping.h"
#include "dcp/metadata.h"

namespace dcp {

/// Of the entry `stored`, which is called `fqn`.
MappingSource MappingSourceOf(const std::string& fqn,
                              const StorageMetadata& stored);

}  // namespace dcp

#endif  // DCP_CHECKPOINT_MAPPING_SOURCE_H_
