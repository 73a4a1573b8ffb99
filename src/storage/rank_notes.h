// RankNotes: what the coordinator tells a rank about the directory, beside its
// plan.

#ifndef DCP_STORAGE_RANK_NOTES_H_
#define DCP_STORAGE_RANK_NOTES_H_

#include <cstdint>
#include <optional>
#include <string>
#include <string_view>
#include <unordered_set>

#include "dcp/status.h"

namespace dcp {

struct RankNotes {
  /// Data files of the rank get this number or a higher one: names that were
  /// there when the save began are not used again, so that whoever still means
  /// to remove one removes no file of this save.
  int64_t next_file_index = 0;
  /// The rank's data files that are published. All others are leftovers, also
  /// in a directory that the coordinator does not see. Unset if that is not
  /// known.
  std::optional<std::unordered_set<std::string>> published;

  bool operator==(const RankNotes&) const = default;
};

std::string SerializeRankNotes(const RankNotes& notes);
/// \error kDataLoss  not what SerializeRankNotes wrote
StatusOr<RankNotes> ParseRankNotes(std::string_view data);

}  // namespace dcp

#endif  // DCP_STORAGE_RANK_NOTES_H_
