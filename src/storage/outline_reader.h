// OutlineReader: a StorageReader of which each rank of a load reads only what
// it needs of the metadata.

#ifndef DCP_STORAGE_OUTLINE_READER_H_
#define DCP_STORAGE_OUTLINE_READER_H_

#include <optional>
#include <span>
#include <string_view>

#include "dcp/metadata.h"
#include "dcp/status.h"
#include "dcp/storage.h"
#include "format/indexed_metadata.h"
#include "format/sidecar.h"

namespace dcp {

/// What a load reads first.
struct CheckpointOutline {
  CheckpointIndex index;
  /// Whether the metadata's tensors have no chunks, and entries' items no
  /// places: ReadEntries adds those.
  bool lacks_items = false;
};

/// Indexed metadata, and the sidecar that names them.
struct BoundIndex {
  Sidecar sidecar;
  IndexedMetadata metadata;
};

class OutlineReader {
 public:
  virtual ~OutlineReader() = default;

  /// As StorageReader::ReadIndex, in its place, but without items where they
  /// can be had later.
  virtual StatusOr<CheckpointOutline> ReadOutline() = 0;

  /// All ranks, after SetUp with an outline that lacks items: adds those of the
  /// entries `fqns`, which are distinct, to `metadata`, the outline's. Keys
  /// that it does not have are left out. \error kDataLoss  what was to be read
  /// is gone or damaged
  virtual Status ReadEntries(std::span<const std::string_view> fqns,
                             Metadata* metadata) = 0;

  /// As StorageReader::ReadIndex, but planner_data may be missing.
  virtual StatusOr<CheckpointIndex> ReadIndexWithoutPaths() = 0;

  /// The checkpoint's indexed metadata; nullopt if it has none. Of `.metadata`
  /// it reads the last bytes only: those between may be damaged.
  /// \error kDataLoss  they are damaged, or of another `.metadata`
  virtual StatusOr<std::optional<BoundIndex>> OpenIndex() = 0;
};

}  // namespace dcp

#endif  // DCP_STORAGE_OUTLINE_READER_H_
