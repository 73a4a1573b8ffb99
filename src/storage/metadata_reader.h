// MetadataReader: what a native checkpoint's directory tells of it, for loads.

#ifndef DCP_STORAGE_METADATA_READER_H_
#define DCP_STORAGE_METADATA_READER_H_

#include <cstdint>
#include <optional>
#include <string>
#include <string_view>

#include "dcp/file_system.h"
#include "dcp/status.h"
#include "dcp/storage.h"
#include "storage/outline_reader.h"
#include "storage/sidecar_file.h"

namespace dcp {

/// Reads metadata and what belongs to them: of checkpoints of dcp the sidecar,
/// and the index where the sidecar names one. One of these that is missing or
/// does not fit is damage, as data that is missing is, although `.metadata`
/// says the same as the index: nobody can tell what else was lost with it.
/// Without `verify` what is there has to do.
class MetadataReader {
 public:
  /// `file_system` and `directory` outlive the reader.
  MetadataReader(FileSystem& file_system, const std::string& directory,
                 bool verify)
      : file_system_(file_system), directory_(directory), verify_(verify) {}

  /// The file `name`, and its sidecar as storage_data.
  /// \error kNotFound  there is no such file
  /// \error kDataLoss  it, or what belongs to it, is damaged
  StatusOr<CheckpointIndex> ReadWhole(const std::string& name);
  /// `.metadata`, with or without planner_data, and its sidecar.
  StatusOr<CheckpointIndex> ReadWithoutPaths();
  /// `.metadata`; without items if there is an index. `.metadata` is then read
  /// and compared with its CRC-32, but not parsed.
  StatusOr<CheckpointOutline> ReadOutline();
  /// See OutlineReader.
  StatusOr<std::optional<BoundIndex>> OpenIndex();

 private:
  enum class Extent : uint8_t { kWhole, kWithoutPaths, kOutline };
  struct MetadataBytes {
    std::string_view pickle;
    const std::string& path;
  };

  StatusOr<CheckpointOutline> Read(const std::string& name, Extent extent);
  StatusOr<CheckpointOutline> Parse(const MetadataBytes& file, Extent extent);
  StatusOr<CheckpointOutline> ParseWhole(const MetadataBytes& file,
                                         Extent extent);
  /// nullopt if the checkpoint has no indexed metadata.
  StatusOr<std::optional<CheckpointOutline>> Outline(const MetadataBytes& file);
  /// The save id of a `.metadata` with those last bytes, if an index of that
  /// save is there; else empty.
  StatusOr<std::string> FindIndexed(std::string_view metadata_tail);
  StatusOr<bool> HasIndex(std::string_view save_id);
  /// The sidecar that belongs to `file`.
  StatusOr<SidecarFileContent> ReadSidecar(std::string_view save_id,
                                           const MetadataBytes& file);
  Status RequireIndex(const Sidecar& sidecar);

  FileSystem& file_system_;
  const std::string& directory_;
  const bool verify_;
};

}  // namespace dcp

#endif  // DCP_STORAGE_METADATA_READER_H_
