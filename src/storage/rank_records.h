// Records: small files by which processes of one save talk through its
// directory.

#ifndef DCP_STORAGE_RANK_RECORDS_H_
#define DCP_STORAGE_RANK_RECORDS_H_

#include <set>
#include <string>
#include <string_view>

#include "dcp/file_system.h"

namespace dcp {

/// Those of one session, which no other save has: nothing stale is ever read.
/// A record appears whole, and replaces one of the same tag. Thread-safe.
class RankRecords {
 public:
  /// \param session_id  IsDcpcppSaveId
  RankRecords(FileSystem& file_system, std::string directory,
              std::string session_id);

  Status Put(const std::string& tag, std::string_view content);
  /// \error kNotFound  it is not there, or not any more
  StatusOr<std::string> Get(const std::string& tag);
  StatusOr<std::set<std::string>> Tags();
  /// As far as that goes.
  void Remove(const std::set<std::string>& tags);

  /// The record that says that `rank` takes no part any more, and its tag.
  static std::string GoneTag(int rank);
  Status TellGone(int rank, std::string_view why) {
    return Put(GoneTag(rank), why);
  }

 private:
  std::string PathOf(const std::string& tag) const;

  FileSystem& file_system_;
  const std::string directory_;
  const std::string session_id_;
};

}  // namespace dcp

#endif  // DCP_STORAGE_RANK_RECORDS_H_
