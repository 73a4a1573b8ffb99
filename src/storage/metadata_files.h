// What a save publishes of its metadata: the files' bytes.

#ifndef DCP_STORAGE_METADATA_FILES_H_
#define DCP_STORAGE_METADATA_FILES_H_

#include <cstddef>
#include <limits>
#include <string>
#include <vector>

#include "dcp/metadata.h"
#include "dcp/status.h"
#include "dcp/storage.h"

namespace dcp {

struct MetadataFiles {
  std::string pickle;  ///< `.metadata`
  std::string index;   ///< indexed metadata; empty if there are none
};

inline constexpr size_t kNoIndex = std::numeric_limits<size_t>::max();

/// `metadata` comes without storage_data: `outcomes` say where items lie; their
/// results, which are large, are freed. With `min_indexed_items` items or more
/// there is an index.
/// \error kInvalidArgument  see SerializeMetadata
StatusOr<MetadataFiles> MakeMetadataFiles(const Metadata& metadata,
                                          std::vector<WriteOutcome>* outcomes,
                                          size_t min_indexed_items);

}  // namespace dcp

#endif  // DCP_STORAGE_METADATA_FILES_H_
