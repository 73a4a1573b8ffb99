// Which sidecar, if any, speaks for the safetensors files of a directory.
// FORMAT.md, section 10, has the rules.

#ifndef DCP_STORAGE_HUGGING_FACE_MANIFEST_H_
#define DCP_STORAGE_HUGGING_FACE_MANIFEST_H_

#include <optional>
#include <span>
#include <string>
#include <string_view>
#include <vector>

#include "dcp/file_system.h"
#include "dcp/status.h"
#include "format/safetensors_index.h"
#include "format/sidecar.h"

namespace dcp {

/// An index that was read.
struct IndexFile {
  std::string path;
  std::string_view text;
  const SafetensorsIndex& index;
};

/// The sidecar of the save that wrote the index; nullopt if it is not ours.
/// `entries` are those of `directory`.
/// \error kDataLoss  the index or the sidecar is damaged or missing
StatusOr<std::optional<Sidecar>> SidecarOfIndex(
    FileSystem& file_system, const std::string& directory,
    std::span<const DirectoryEntry> entries, const IndexFile& file);

/// Safetensors files where no index lists any.
struct UnlistedFiles {
  std::vector<std::string> names;  ///< of those that count
  /// Files of a save of ours that has not published its index, or files of
  /// ranks that it has not published.
  std::vector<std::string> unpublished;
  Sidecar sidecar;  ///< its files are those of `names` that are ours
};

/// Sorts out `names`, files of `directory`, by its sidecars.
/// \error kDataLoss  a file is damaged in what comes before its data, or files
///     of ranks are missing of a save of ours
StatusOr<UnlistedFiles> SortOutFiles(FileSystem& file_system,
                                     const std::string& directory,
                                     std::span<const DirectoryEntry> entries,
                                     const std::vector<std::string>& names);

}  // namespace dcp

#endif  // DCP_STORAGE_HUGGING_FACE_MANIFEST_H_
