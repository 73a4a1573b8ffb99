// The indexed metadata of a checkpoint in its directory.

#ifndef DCP_STORAGE_INDEXED_FILE_H_
#define DCP_STORAGE_INDEXED_FILE_H_

#include <string>
#include <string_view>

#include "dcp/file_system.h"
#include "dcp/metadata.h"
#include "dcp/status.h"
#include "format/indexed_metadata.h"
#include "format/place_table.h"
#include "format/sidecar.h"

namespace dcp {

/// The bytes of indexed metadata of `metadata`, with `places`, whose
/// `.metadata` has the bytes `pickle`.
StatusOr<std::string> SerializeIndexedMetadata(const Metadata& metadata,
                                               const PlaceTable& places,
                                               std::string_view pickle);

/// What a sidecar says of a file of these bytes.
SidecarIndex BindIndex(std::string_view indexed_metadata);

/// The error of an index that the sidecar of `save_id` names, and that is not
/// there.
Status MissingIndex(const std::string& directory, std::string_view save_id);

/// Opens the indexed metadata that `sidecar`, which has an index, names in
/// `directory`. What is read of it later is checked when it is read.
/// \error kDataLoss  it is missing, damaged or of another checkpoint
StatusOr<IndexedMetadata> OpenIndexedFile(FileSystem& file_system,
                                          const std::string& directory,
                                          const Sidecar& sidecar);

/// All bytes of it, as they were written.
/// \error kDataLoss  as OpenIndexedFile, or one of the bytes differs
StatusOr<std::string> ReadIndexedFile(FileSystem& file_system,
                                      const std::string& directory,
                                      const Sidecar& sidecar);

}  // namespace dcp

#endif  // DCP_STORAGE_INDEXED_FILE_H_
