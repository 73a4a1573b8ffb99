// ColumnGroups: the records of one key by chunk.

#ifndef DCP_PLAN_COLUMN_GROUPS_H_
#define DCP_PLAN_COLUMN_GROUPS_H_

#include <cstddef>
#include <cstdint>
#include <span>
#include <vector>

#include "plan/plan_columns.h"

namespace dcp {

/// To be used for one key after the other, since it keeps its memory.
class ColumnGroups {
 public:
  /// `columns` must outlive the groups.
  explicit ColumnGroups(const PlanColumns& columns) : columns_(columns) {}

  /// Groups the records of `key` by offsets. O(n) where these ascend by rank,
  /// and otherwise for all but the strangest tensors.
  void Group(const KeyColumn& key);

  /// By offsets.
  size_t size() const { return begins_.size() - 1; }
  /// The records of a group, ascending by rank and item.
  std::span<const uint32_t> RecordsOf(size_t group) const {
    return std::span(records_).subspan(begins_[group],
                                       begins_[group + 1] - begins_[group]);
  }

  /// Whether the groups' chunks are found to cover the tensor exactly: those
  /// of every device mesh are, in which each dimension is cut straight.
  bool Tile() const;

 private:
  /// A number that orders chunks as their offsets do.
  struct Place {
    uint64_t at = 0;
    uint32_t record = 0;
  };

  /// Fills places_, by record; false if 64 bits do not do for it.
  bool FindPlaces();
  /// Fills places_, sorted, with small numbers.
  void FindPlacesByOffsets();
  void SortPlaces();
  bool IsEmpty(uint32_t record) const;
  bool Follows(uint32_t record, uint32_t previous) const;

  const PlanColumns& columns_;
  const KeyColumn* key_ = nullptr;
  std::vector<Place> places_;
  std::vector<Place> sorted_;
  std::vector<uint32_t> records_;
  std::vector<uint32_t> begins_;  // by group, and the end
};

}  // namespace dcp

#endif  // DCP_PLAN_COLUMN_GROUPS_H_
