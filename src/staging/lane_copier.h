// LaneCopier: the copies of one lane, cut into units for several threads.

#ifndef DCP_STAGING_LANE_COPIER_H_
#define DCP_STAGING_LANE_COPIER_H_

#include <atomic>
#include <cstddef>
#include <cstdint>
#include <optional>
#include <span>
#include <vector>

#include "staging/snapshot_layout.h"

namespace dcp {

/// What a unit has of a job: bytes [begin, begin + out.size()) of its copy.
struct JobPart {
  const CopyJob& job;
  int64_t begin = 0;
  std::span<std::byte> out;
};

/// A unit is some mebibytes of the lane's memory: part of a large tensor, or
/// many small ones. Units are handed out in order, so the front of the lane is
/// complete first.
class LaneCopier {
 public:
  LaneCopier() = default;
  /// `lane` and `memory`, which has its bytes, outlive the copier.
  void Begin(const CopyLane& lane, std::span<std::byte> memory,
             int64_t unit_nbytes);

  size_t unit_count() const { return is_done_.size(); }
  /// Thread-safe. nullopt: all are taken.
  std::optional<size_t> TakeUnit();
  /// Of the host's lane, for different units in different threads.
  void CopyUnit(size_t unit) const;
  /// The lane's memory that the unit fills.
  std::span<std::byte> MemoryOf(size_t unit) const;
  /// In the order of the memory.
  std::vector<JobPart> PartsOf(size_t unit) const;

  /// To be called for every unit that was copied, by one thread at a time.
  void MarkDone(size_t unit);
  /// Everything before this offset is there.
  int64_t front() const { return front_; }

 private:
  const CopyLane* lane_ = nullptr;
  std::span<std::byte> memory_;
  int64_t unit_nbytes_ = 1;
  std::atomic<size_t> next_{0};
  std::vector<bool> is_done_;
  size_t units_in_front_ = 0;
  int64_t front_ = 0;
};

}  // namespace dcp

#endif  // DCP_STAGING_LANE_COPIER_H_
