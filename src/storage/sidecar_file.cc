#include "storage/sidecar_file.h"

#include <algorithm>
#include <cstdint>
#include <span>
#include <utility>

#include "base/checksum.h"
#include "format/file_names.h"
#include "storage/limits.h"
#include "storage/read_root.h"

namespace dcp {

std::string_view DcpcppSaveIdOf(const Metadata& metadata) {
  const auto& meta = metadata.storage_meta;
  if (!meta || !meta->save_id || !IsDcpcppSaveId(*meta->save_id)) return {};
  return *meta->save_id;
}

// FORMAT.md, 3: `save_id` is a string of the last object, and the last one that
// looks like an id.
std::string_view LikelySaveIdOf(std::string_view metadata_pickle) {
  constexpr std::string_view kPrefix = "dcpcpp-";
  const std::string_view tail = metadata_pickle.substr(
      metadata_pickle.size() -
      std::min(metadata_pickle.size(), kSaveIdTailNbytes));
  const size_t begin = tail.rfind(kPrefix);
  if (begin == tail.npos || begin == 0) return {};
  // SHORT_BINUNICODE has the length in the byte before the text.
  const auto nbytes = static_cast<uint8_t>(tail[begin - 1]);
  const std::string_view save_id = tail.substr(begin, nbytes);
  return save_id.size() == nbytes && IsDcpcppSaveId(save_id)
             ? save_id
             : std::string_view();
}

StatusOr<SidecarFileContent> ReadSidecarFile(FileSystem& file_system,
                                             const std::string& directory,
                                             std::string_view save_id) {
  const std::string path = JoinPath(directory, SidecarName(save_id));
  StatusOr<std::string> bytes = ReadFile(file_system, path, kMaxSidecarNbytes,
                                         {.beneath = ReadRoot(directory)});
  if (bytes.status().code() == absl::StatusCode::kNotFound) {
    return CorruptionError("the checkpoint's file of checksums is missing",
                           {.op = "open", .path = path});
  }
  DCP_RETURN_IF_ERROR(bytes.status());
  StatusOr<Sidecar> parsed = ParseSidecar(*bytes);
  if (!parsed.ok()) return Annotate(parsed.status(), path);
  return SidecarFileContent{.sidecar = *std::move(parsed),
                            .bytes = *std::move(bytes)};
}

std::vector<Sidecar> ReadSidecars(FileSystem& file_system,
                                  const std::string& directory,
                                  std::span<const DirectoryEntry> entries) {
  std::vector<Sidecar> found;
  for (const DirectoryEntry& entry : entries) {
    if (!IsSidecarName(entry.name)) continue;
    auto content =
        ReadSidecarFile(file_system, directory, entry.name.substr(1));
    if (content.ok()) found.push_back(std::move(content->sidecar));
  }
  return found;
}

Status CheckMetadataCrc(const Sidecar& sidecar,
                        std::string_view metadata_pickle,
                        const std::string& metadata_path) {
  const uint32_t crc = Crc32(0, metadata_pickle);
  if (sidecar.metadata_nbytes == static_cast<int64_t>(metadata_pickle.size()) &&
      sidecar.metadata_crc32 == crc) {
    return absl::OkStatus();
  }
  return CorruptionError("the metadata differs from its recorded CRC-32",
                         {.op = "verify", .path = metadata_path});
}

}  // namespace dcp
