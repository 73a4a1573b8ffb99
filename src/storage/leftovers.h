// Leftovers: files of saves that were killed before they could publish.

#ifndef DCP_STORAGE_LEFTOVERS_H_
#define DCP_STORAGE_LEFTOVERS_H_

#include <cstdint>
#include <optional>
#include <string>
#include <string_view>
#include <unordered_set>
#include <vector>

#include "dcp/file_system.h"
#include "storage/safetensors_survey.h"

namespace dcp {

/// What a checkpoint directory held when it was looked at.
struct DirectorySurvey {
  /// Whether there is a `.metadata`, or a `__<rank>.metadata`.
  bool has_checkpoint = false;
  /// Why it is not known which files belong to checkpoints; OK if it is.
  Status doubt;
  /// Files that belong to the checkpoint of `.metadata`, and to those of single
  /// ranks: data, sidecars and indexed metadata.
  std::unordered_set<std::string> published;
  std::unordered_set<std::string> published_by_ranks;
  /// All names of files.
  std::vector<std::string> names;
  SafetensorsSurvey safetensors;
};

/// The files that the metadata at `path` names, its sidecar and, if there are
/// some, its indexed metadata.
StatusOr<std::unordered_set<std::string>> PublishedBy(FileSystem& file_system,
                                                      const std::string& path);

/// Lists `directory` and reads the metadata in it, native and safetensors'.
StatusOr<DirectorySurvey> SurveyDirectory(FileSystem& file_system,
                                          const std::string& directory);

/// Whether a save of ours could have written a file of this name.
bool CouldBeOurs(std::string_view name);

/// The files that a save of ours has written, or could have by their names, and
/// that belong to no checkpoint, sorted. They are leftovers if nobody else is
/// at work in the directory: only who has the claim (DirectoryClaim) can tell.
std::vector<std::string> FindLeftovers(const DirectorySurvey& survey);

/// Removes leftovers of `directory`, as far as that goes: what tells whose the
/// others are goes last, and only if all the others are gone.
/// \error of the first that could not be removed
Status RemoveLeftoverFiles(FileSystem& file_system,
                           const std::string& directory,
                           std::vector<std::string> names);

/// Data files of `rank` among `names` that are not in `kept`.
std::vector<std::string> OtherFilesOfRank(
    const std::vector<std::string>& names, int64_t rank,
    const std::unordered_set<std::string>& kept);

/// The number after the highest of `rank`'s data files among `names`.
int64_t NextFileIndex(const std::vector<std::string>& names, int64_t rank);

}  // namespace dcp

#endif  // DCP_STORAGE_LEFTOVERS_H_
