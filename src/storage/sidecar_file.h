// The sidecar of a checkpoint in its directory.

#ifndef DCP_STORAGE_SIDECAR_FILE_H_
#define DCP_STORAGE_SIDECAR_FILE_H_

#include <span>
#include <string>
#include <string_view>
#include <vector>

#include "dcp/file_system.h"
#include "dcp/metadata.h"
#include "dcp/status.h"
#include "format/sidecar.h"

namespace dcp {

/// A sidecar and the bytes that it was parsed from.
struct SidecarFileContent {
  Sidecar sidecar;
  std::string bytes;
};

/// The save id of `metadata` if dcp wrote it, else empty.
std::string_view DcpcppSaveIdOf(const Metadata& metadata);

/// How many of the last bytes of a `.metadata` LikelySaveIdOf looks at.
inline constexpr size_t kSaveIdTailNbytes = 1024;

/// The save id of a `.metadata` of dcp with the bytes `metadata_pickle`, or
/// with these as its last, without parsing them; empty if they do not look like
/// one. A guess: the sidecar of that id tells whether it is right.
std::string_view LikelySaveIdOf(std::string_view metadata_pickle);

/// Reads the sidecar of the save `save_id` in the checkpoint `directory`.
/// \error kDataLoss  it is missing or damaged
StatusOr<SidecarFileContent> ReadSidecarFile(FileSystem& file_system,
                                             const std::string& directory,
                                             std::string_view save_id);

/// All sidecars among the `entries` of `directory` that can be parsed.
std::vector<Sidecar> ReadSidecars(FileSystem& file_system,
                                  const std::string& directory,
                                  std::span<const DirectoryEntry> entries);

/// Whether `sidecar` was written with the metadata whose bytes are
/// `metadata_pickle`, the file `metadata_path`.
/// \error kDataLoss  it was not, or the metadata is damaged
Status CheckMetadataCrc(const Sidecar& sidecar,
                        std::string_view metadata_pickle,
                        const std::string& metadata_path);

}  // namespace dcp

#endif  // DCP_STORAGE_SIDECAR_FILE_H_
