// What a directory holds of safetensors checkpoints, for who saves into it or
// cleans it.

#ifndef DCP_STORAGE_SAFETENSORS_SURVEY_H_
#define DCP_STORAGE_SAFETENSORS_SURVEY_H_

#include <span>
#include <string>
#include <unordered_set>
#include <vector>

#include "dcp/file_system.h"
#include "dcp/status.h"

namespace dcp {

/// Names are those of files in the directory itself.
struct SafetensorsSurvey {
  /// Whether a reader finds a checkpoint, be it damaged.
  bool has_checkpoint = false;
  /// Why it is not known which files belong to it; OK if it is.
  Status doubt;
  /// What a save replaces: the index, the safetensors files that it names, the
  /// file model.safetensors, without an index files of ranks and a single file
  /// of ours, whatever its name, and their sidecar.
  std::unordered_set<std::string> replaced;
  /// Sidecars that speak for a file or an index that is there.
  std::unordered_set<std::string> sidecars_in_force;
  /// Safetensors files of saves that were killed before their commit, and such
  /// as a save replaced that was killed after it. Sorted.
  std::vector<std::string> leftovers;
  /// The other safetensors files, sorted.
  std::vector<std::string> strays;
};

/// `entries` are those of `directory`.
SafetensorsSurvey SurveySafetensors(FileSystem& file_system,
                                    const std::string& directory,
                                    std::span<const DirectoryEntry> entries);

}  // namespace dcp

#endif  // DCP_STORAGE_SAFETENSORS_SURVEY_H_
