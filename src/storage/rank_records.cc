#include "storage/rank_records.h"

#include <cstdint>
#include <utility>

#include "base/random_id.h"
#include "format/file_names.h"

namespace dcp {
namespace {

// Plans of a rank, and metadata: as much as a `.metadata` may have.
constexpr int64_t kMaxNbytes = int64_t{4} << 30;

}  // namespace

RankRecords::RankRecords(FileSystem& file_system, std::string directory,
                         std::string session_id)
    : file_system_(file_system),
      directory_(std::move(directory)),
      session_id_(std::move(session_id)) {}

std::string RankRecords::PathOf(const std::string& tag) const {
  return JoinPath(directory_, RecordName(session_id_, tag));
}

std::string RankRecords::GoneTag(int rank) {
  return "gone-" + std::to_string(rank);
}

Status RankRecords::Put(const std::string& tag, std::string_view content) {
  const std::string temporary = PathOf("new-" + MakeRandomHex());
  DCP_RETURN_IF_ERROR(
      WriteFile(file_system_, temporary, content, SyncMode::kNone));
  const Status renamed = file_system_.Rename(temporary, PathOf(tag));
  if (!renamed.ok()) file_system_.Remove(temporary).IgnoreError();
  return renamed;
}

StatusOr<std::string> RankRecords::Get(const std::string& tag) {
  return ReadFile(file_system_, PathOf(tag), kMaxNbytes, {});
}

StatusOr<std::set<std::string>> RankRecords::Tags() {
  // A list is up to date on network file systems, too, where a name that was
  // looked for may count as absent for a while.
  DCP_ASSIGN_OR_RETURN(const auto entries, file_system_.List(directory_));
  std::set<std::string> tags;
  for (const DirectoryEntry& entry : entries) {
    const auto tag = RecordTagOf(entry.name, session_id_);
    if (tag) tags.emplace(*tag);
  }
  return tags;
}

void RankRecords::Remove(const std::set<std::string>& tags) {
  for (const std::string& tag : tags) {
    file_system_.Remove(PathOf(tag)).IgnoreError();
  }
}

}  // namespace dcp
