#include "checkpoint/no_checkpoint.h"

#include <algorithm>
#include <cstdint>
#include <optional>
#include <span>

#include "format/file_names.h"
#include "storage/hugging_face_directory.h"

namespace dcp {
namespace {

bool IsMetadata(const DirectoryEntry& entry) {
  return entry.name == kMetadataFileName ||
         ParseRankMetadataFileName(entry.name).has_value();
}

/// The directory of the newest step among `entries`, null if there is none.
const DirectoryEntry* NewestStep(std::span<const DirectoryEntry> entries) {
  const DirectoryEntry* newest = nullptr;
  std::optional<int64_t> last;
  for (const DirectoryEntry& entry : entries) {
    const auto step = ParseStepDirectoryName(entry.name);
    if (entry.kind != FileKind::kDirectory || !step || step <= last) continue;
    newest = &entry;
    last = step;
  }
  return newest;
}

}  // namespace

Status ExplainNotFound(FileSystem& file_system, const std::string& path,
                       const Status& status) {
  if (status.code() != absl::StatusCode::kNotFound) return status;
  const StatusOr<bool> exists = file_system.Exists(path);
  if (exists.ok() && !*exists) return NotFound("there is nothing at " + path);
  const auto entries = file_system.List(path);
  if (!entries.ok() || HasSafetensors(*entries) ||
      std::any_of(entries->begin(), entries->end(), IsMetadata)) {
    return status;
  }
  if (const DirectoryEntry* const step = NewestStep(*entries)) {
    return NotFound(path +
                    " is a folder of steps, not a checkpoint; name one, " +
                    JoinPath(path, step->name) + " for example");
  }
  const bool has_data = std::any_of(
      entries->begin(), entries->end(), [](const DirectoryEntry& entry) {
        return ParseDataFileName(entry.name).has_value();
      });
  return NotFound("there is no checkpoint in " + path +
                  (has_data ? ": it has data files, but not .metadata, which a "
                              "save writes last; none was finished here"
                            : ": it has neither .metadata nor safetensors "
                              "files"));
}

}  // namespace dcp
