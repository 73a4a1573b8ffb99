#include "storage/metadata_file.h"

#include <cstdint>
#include <set>

#include "format/file_names.h"
#include "storage/limits.h"
#include "storage/read_root.h"

namespace dcp {
namespace {

constexpr size_t kMaxNamed = 8;

/// The ranks that have metadata of their own in `directory`.
std::set<int64_t> RanksAlone(FileSystem& file_system,
                             const std::string& directory) {
  std::set<int64_t> ranks;
  const auto entries = file_system.List(directory);
  if (!entries.ok()) return ranks;  // the caller's status says enough
  for (const DirectoryEntry& entry : *entries) {
    if (const auto rank = ParseRankMetadataFileName(entry.name)) {
      ranks.insert(*rank);
    }
  }
  return ranks;
}

std::string Names(const std::set<int64_t>& ranks) {
  std::string text = ranks.size() == 1 ? "rank " : "ranks ";
  size_t count = 0;
  for (const int64_t rank : ranks) {
    if (count > 0) text += ", ";
    if (count++ == kMaxNamed) {
      return text + "... (" + std::to_string(ranks.size()) + " in all)";
    }
    text += std::to_string(rank);
  }
  return text;
}

/// `status` of a file that is not there, with what is.
Status WithRanksAlone(const Status& status, const std::set<int64_t>& ranks) {
  if (ranks.empty()) return status;
  return WithDetail(
      NotFound(std::string(Message(status)) + "; there is metadata of " +
               Names(ranks) +
               ", saved with use_collectives=False: open it with rank=" +
               std::to_string(*ranks.begin())),
      GetErrorDetail(status).value_or(ErrorDetail{}));
}

}  // namespace

StatusOr<std::string> ReadMetadataFile(FileSystem& file_system,
                                       const std::string& directory,
                                       const std::string& name) {
  StatusOr<std::string> pickle =
      ReadFile(file_system, JoinPath(directory, name), kMaxMetadataNbytes,
               {.beneath = ReadRoot(directory)});
  if (pickle.status().code() != absl::StatusCode::kNotFound) return pickle;
  return WithRanksAlone(pickle.status(), RanksAlone(file_system, directory));
}

}  // namespace dcp
