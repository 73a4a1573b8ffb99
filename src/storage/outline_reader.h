// OutlineReader: a StorageReader of which each rank of a load reads only what
// it needs of the metadata.

#ifndef DCP_STORAGE_OUTLINE_READER_H_
#define DCP_STORAGE_OUTLINE_READER_H_

#include <span>
#include <string_view>

#include "dcp/metadata.h"
#include "dcp/status.h"
#include "dcp/storage.h"

namespace dcp {

/// What a load reads first.
struct CheckpointOutline {
  CheckpointIndex index;
  /// Whether the metadata's tensors have no chunks, and entries' items no
  /// places: ReadEntries adds those.
  bool lacks_items = false;
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
};

}  // namespace dcp

#endif  // DCP_STORAGE_OUTLINE_READER_H_
